# SPDX-License-Identifier: Apache-2.0
"""The description of a server: a YAML file, explained in README.md."""
import getpass
import os
import sys

import yaml

import fixture

INSTANCE_KEYS = {"host", "port", "tls_name", "ca_file"}
KEYS = INSTANCE_KEYS | {"login", "password_file", "group", "logins", "prepared", "switches",
                        "contained", "distributed"}
GROUP_KEYS = {"name", "database", "cluster_type", "replicas", "primary_connections",
              "master_key_password_file"}
CONTAINED_KEYS = {"database", "listener", "unreadable"}
DISTRIBUTED_KEYS = {"name", "secondary"}
LOGINS = {"locked", "expired", "contained_user"}
LOGIN_KEYS = {"name", "password_file"}
PREPARED_KEYS = {"database", "password", "logins"}


class Malformed(Exception):
    """The description is written wrongly."""


def check(where, value, allowed, required):
    if not isinstance(value, dict):
        raise Malformed(f"{where}: keys and values are expected")
    for key in value:
        if key not in allowed:
            raise Malformed(f"{where}: unknown key {key}")
    for key in sorted(required):
        if key not in value:
            raise Malformed(f"{where}: {key} is missing")


def instance(where, value, folder):
    value.setdefault("port", 1433)
    value.setdefault("tls_name", value["host"])
    value["ca_file"] = os.path.join(folder, value["ca_file"])
    if not isinstance(value["port"], int) or not os.path.isfile(value["ca_file"]):
        raise Malformed(f"{where}: port is a number, ca_file a file of certificates (PEM)")


def first_line(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.readline().rstrip("\r\n")


def read_password(server, folder):
    if "password_file" in server:
        return first_line(folder, server["password_file"])
    if sys.stdin.isatty():
        return getpass.getpass(f"Password of {server['login']}: ")
    return sys.stdin.readline().rstrip("\r\n")


def read_group(where, group, folder):
    check(where, group, GROUP_KEYS, {"name", "database"})
    if group.setdefault("cluster_type", "WSFC") not in ("WSFC", "EXTERNAL", "NONE"):
        raise Malformed(f"{where}: cluster_type is WSFC, EXTERNAL or NONE")
    if group.setdefault("primary_connections", "ALL") not in ("ALL", "READ_WRITE"):
        raise Malformed(f"{where}: primary_connections is ALL or READ_WRITE")
    if "master_key_password_file" in group:
        group["master_key_password"] = first_line(folder, group["master_key_password_file"])
    for replica in group.setdefault("replicas", []):
        check(where + ", replica", replica, INSTANCE_KEYS | {"as"}, {"host", "ca_file", "as"})
        instance(where + ", replica", replica, folder)


def read_places(where, value, allowed, required, folder):
    """Names, and instances under the other keys."""
    check(where, value, allowed, required)
    for key, place in value.items():
        if isinstance(place, dict):
            check(f"{where}, {key}", place, INSTANCE_KEYS, {"host", "ca_file"})
            instance(f"{where}, {key}", place, folder)


def read_logins(where, logins, folder):
    check(where, logins, LOGINS, set())
    for name, login in logins.items():
        check(f"{where}, {name}", login, LOGIN_KEYS, LOGIN_KEYS)
        login["password"] = first_line(folder, login["password_file"])


def check_prepared(where, prepared):
    """Rows drop the master key of a prepared database: its name must say that it is for that."""
    check(where, prepared, PREPARED_KEYS | {"catalog"}, PREPARED_KEYS)
    if not fixture.SCRATCH.fullmatch(str(prepared["database"])):
        raise Malformed(f"{where}: rows drop the master key of this database, so that it must be"
                        f" called {fixture.PREFIX} and eight hexadecimal digits")


def read(path):
    """A server from its file; relative names in it belong to the file's folder."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with open(path, encoding="utf-8") as file:
            server = yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise Malformed(f"{path}: {error}") from error
    check(path, server, KEYS, {"host", "ca_file", "login"})
    instance(path, server, folder)
    server["login_password"] = read_password(server, folder)
    group = server.setdefault("group", None)
    if group:
        read_group(path + ": group", group, folder)
    if server.setdefault("contained", None):
        read_places(path + ": contained", server["contained"], CONTAINED_KEYS, {"database"}, folder)
    if server.setdefault("distributed", None):
        read_places(path + ": distributed", server["distributed"], DISTRIBUTED_KEYS, {"name"},
                    folder)
    read_logins(path + ": logins", server.setdefault("logins", {}), folder)
    if "prepared" in server:
        check_prepared(path + ": prepared", server["prepared"])
    server["switches"] = {name: str(value)
                          for name, value in server.get("switches", {}).items()}
    return server
