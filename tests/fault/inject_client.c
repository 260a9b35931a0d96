/* SPDX-License-Identifier: Apache-2.0 */
/* As inject_calls.c, for clients. */
#include "tests/fault/inject.h"

#include <curl/curl.h>
#include <sql.h>
#include <sqlext.h>

/* NOLINTBEGIN(readability-identifier-naming,bugprone-branch-clone) */
#define WRAPPED(name)
#define FAIL(class, result, failure, name, parameters, arguments)                                  \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters                                                                \
    {                                                                                              \
        return inject_due(INJECT_##class, #name) ? (failure) : __real_##name arguments;            \
    }
#include "tests/fault/inject_client.def"

SQLRETURN __real_SQLConnectW(SQLHDBC connection, SQLWCHAR *source, SQLSMALLINT source_len,
                             SQLWCHAR *login, SQLSMALLINT login_len, SQLWCHAR *password,
                             SQLSMALLINT password_len);
SQLRETURN __wrap_SQLConnectW(SQLHDBC connection, SQLWCHAR *source, SQLSMALLINT source_len,
                             SQLWCHAR *login, SQLSMALLINT login_len, SQLWCHAR *password,
                             SQLSMALLINT password_len);
SQLRETURN __wrap_SQLConnectW(SQLHDBC connection, SQLWCHAR *source, SQLSMALLINT source_len,
                             SQLWCHAR *login, SQLSMALLINT login_len, SQLWCHAR *password,
                             SQLSMALLINT password_len)
{
    if (inject_due(INJECT_SQL, "SQLConnectW"))
        return SQL_ERROR;
    return __real_SQLConnectW(connection, source, source_len, login, login_len, password,
                              password_len);
}

/* Every other failure comes after the statement was carried out: nobody knows of its result. */
SQLRETURN __real_SQLExecDirectW(SQLHSTMT statement, SQLWCHAR *text, SQLINTEGER len);
SQLRETURN __wrap_SQLExecDirectW(SQLHSTMT statement, SQLWCHAR *text, SQLINTEGER len);
SQLRETURN __wrap_SQLExecDirectW(SQLHSTMT statement, SQLWCHAR *text, SQLINTEGER len)
{
    unsigned due = inject_due(INJECT_SQL, "SQLExecDirectW");
    SQLRETURN rc;

    if (due % 2 == 1)
        return SQL_ERROR;
    rc = __real_SQLExecDirectW(statement, text, len);
    if (due)
        rc = SQL_ERROR;
    return rc;
}

CURLcode __real_curl_easy_perform(CURL *curl);
CURLcode __wrap_curl_easy_perform(CURL *curl);
CURLcode __wrap_curl_easy_perform(CURL *curl)
{
    static const CURLcode codes[] = {CURLE_COULDNT_CONNECT,    CURLE_RECV_ERROR,
                                     CURLE_OPERATION_TIMEDOUT, CURLE_GOT_NOTHING,
                                     CURLE_SSL_CONNECT_ERROR,  CURLE_OUT_OF_MEMORY};
    unsigned due = inject_due(INJECT_HTTP, "curl_easy_perform");
    CURLcode code;

    if (due % 2 == 1)
        return codes[(due - 1) % 6];
    code = __real_curl_easy_perform(curl);
    return due ? codes[(due - 1) % 6] : code;
}
/* NOLINTEND(readability-identifier-naming,bugprone-branch-clone) */
