#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sql_plain.py PORT LOGIN PASSWORD STATEMENT: a plain ODBC client, as careless as most are.

It shows that what a test plants for the driver does catch one.
"""
import ctypes
import sys

odbc = ctypes.CDLL("libodbc.so.2")
environment, connection, statement = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
port, login, password, text = sys.argv[1:5]
parameters = (
    f"Driver=FreeTDS;Server=127.0.0.1;Port={port};TDS_Version=7.4;UID={login};PWD={password}"
).encode()

odbc.SQLAllocHandle(1, None, ctypes.byref(environment))
odbc.SQLSetEnvAttr(environment, 200, ctypes.c_void_p(3), 0)
odbc.SQLAllocHandle(2, environment, ctypes.byref(connection))
odbc.SQLDriverConnect(connection, None, parameters, len(parameters), None, 0, None, 0)
odbc.SQLAllocHandle(3, connection, ctypes.byref(statement))
odbc.SQLExecDirect(statement, text.encode(), len(text))
