# SPDX-License-Identifier: Apache-2.0
"""One login on one server by python3-tds, a client with protocol code of its own.

Every statement goes as one plain batch, and each answer becomes a value that can be compared and
printed: {"done": true}, {"columns": [...], "rows": [...]} or {"errors": [...]}. A certificate is
always checked; there is no way to leave that out.
"""
import socket

import OpenSSL
import pytds
import pytds.tls
from cryptography import x509

DEADLINE_S = 30
ERROR_CLASS = 11  # below it is information

# Type ids of MS-TDS 2.2.5.4, as pytds puts them into a cursor's description.
TYPES = {
    36: "uniqueidentifier", 48: "tinyint", 50: "bit", 52: "smallint", 56: "int", 61: "datetime",
    104: "bit", 106: "decimal", 108: "numeric", 111: "datetime", 127: "bigint", 165: "varbinary",
    167: "varchar", 173: "binary", 175: "char", 231: "nvarchar", 239: "nchar",
}


def certificate_has_name(cert, name):
    """Instead of the function of pytds, which reads only a certificate with one name."""
    try:
        names = cert.to_cryptography().extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    wanted = name.decode("ascii").lower()
    return any(wanted == known.lower() or
               (known.startswith("*.") and wanted.partition(".")[2] == known[2:].lower())
               for known in names)


pytds.tls.validate_host = certificate_has_name


class IntentWriter:
    """Writes a login with read intent: pytds sends 0x40 as its TypeFlags, a bit that means nothing;
    fReadOnlyIntent of MS-TDS 2.2.6.4 is 0x20. No other byte of a login is written as 0x40."""

    def __init__(self, writer):
        self.writer = writer

    def put_byte(self, value):
        self.writer.put_byte(0x20 if value == 0x40 else value)

    def __getattr__(self, name):
        return getattr(self.writer, name)


def send_login_with_intent(send):
    """The login of pytds, with the intent that was asked for."""
    def send_login(tds, login):
        writer = tds._writer  # pylint: disable=protected-access
        if login.readonly:
            tds._writer = IntentWriter(writer)  # pylint: disable=protected-access
        try:
            return send(tds, login)
        finally:
            tds._writer = writer  # pylint: disable=protected-access
    return send_login


TDS_SESSION = pytds.tds._TdsSession  # pylint: disable=protected-access
TDS_SESSION.tds7_send_login = send_login_with_intent(TDS_SESSION.tds7_send_login)


class Unreachable(Exception):
    """No answer that SQL Server gave: the network, TLS, a deadline."""


def plain(value):
    """A value as JSON can hold it."""
    if isinstance(value, (bytes, bytearray)):
        return "0x" + bytes(value).hex()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def one_error(message):
    return {"number": message.number, "class": message.severity, "state": message.state,
            "text": message.text}


def errors_of(error, messages):
    """The errors behind an exception of pytds, all that it lets us see."""
    known = [one_error(message) for _, message in messages or []
             if message.severity >= ERROR_CLASS]
    if known:
        return known
    if getattr(error, "number", None) is None:
        raise Unreachable(str(error) or type(error).__name__) from error
    # Of a refused login only the last message and all texts in one.
    return [{"number": error.number, "class": error.severity, "state": error.state,
             "text": str(error)}]


def stay_closed(*_, **__):
    """In place of pytds' way to open a connection again, which would hide that it was closed."""
    raise pytds.Error("the server closed the connection")


class Session:
    """An open session; `refusal` holds the errors of a login that was refused."""

    def __init__(self, server, login, password, database=None, has_read_intent=False):
        self.connection = None
        self.cursor = None
        self.refusal = None
        try:
            raw = socket.create_connection((server["host"], server["port"]), DEADLINE_S)
            self.connection = pytds.connect(
                dsn=server["tls_name"], port=server["port"], sock=raw, user=login,
                password=password, database=database, autocommit=True, cafile=server["ca_file"],
                timeout=DEADLINE_S, login_timeout=DEADLINE_S, readonly=has_read_intent,
                disable_connect_retry=True, appname="escrowd conformance")
            self.cursor = self.connection.cursor()
            self.connection._open = stay_closed  # pylint: disable=protected-access
        except (pytds.Error, OSError, OpenSSL.SSL.Error) as error:
            self.refusal = errors_of(error, None)

    def send(self, statement):
        """The answer to one batch; of no text, to the login."""
        if self.refusal:
            return {"errors": self.refusal}
        if not statement:
            return {"done": True}
        try:
            self.cursor.execute(statement)
            if self.cursor.description is None:
                return {"done": True}
            columns = [f"{column[0]} {TYPES.get(column[1], column[1])}"
                       for column in self.cursor.description]
            rows = [[plain(value) for value in row] for row in self.cursor.fetchall()]
            return {"columns": columns, "rows": rows}
        except (pytds.Error, OSError, OpenSSL.SSL.Error) as error:
            return {"errors": errors_of(error, self.cursor.messages)}

    def close(self):
        if self.connection:
            try:
                self.connection.close()
            except (pytds.Error, OSError, OpenSSL.SSL.Error):
                pass  # it was closed by the server
            self.connection = None
