# SPDX-License-Identifier: Apache-2.0
"""The description of a server: a YAML file, explained in README.md."""
import getpass
import os
import sys

import yaml

INSTANCE_KEYS = {"host", "port", "tls_name", "ca_file"}
KEYS = INSTANCE_KEYS | {"login", "password_file", "group", "prepared", "switches"}
GROUP_KEYS = {"name", "database", "cluster_type", "replicas"}
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


def read_password(server, folder):
    if "password_file" in server:
        with open(os.path.join(folder, server["password_file"]), encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    if sys.stdin.isatty():
        return getpass.getpass(f"Password of {server['login']}: ")
    return sys.stdin.readline().rstrip("\r\n")


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
        check(path + ": group", group, GROUP_KEYS, {"name", "database"})
        if group.setdefault("cluster_type", "WSFC") not in ("WSFC", "EXTERNAL", "NONE"):
            raise Malformed(f"{path}: cluster_type is WSFC, EXTERNAL or NONE")
        for replica in group.setdefault("replicas", []):
            where = path + ": replica"
            check(where, replica, INSTANCE_KEYS | {"as"}, {"host", "ca_file", "as"})
            instance(where, replica, folder)
    if "prepared" in server:
        check(path + ": prepared", server["prepared"], PREPARED_KEYS, PREPARED_KEYS)
    server["switches"] = {name: str(value)
                          for name, value in server.get("switches", {}).items()}
    return server
