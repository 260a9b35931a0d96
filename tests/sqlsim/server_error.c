/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/server_error.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct server_error errors[] = {
    /* 2.2 login, permission, syntax */
    {102, 15, 1, "Incorrect syntax near '%1'."},
    {226, 16, 1, "%1 statement not allowed within multi-statement transaction."},
    {137, 15, 2, "Must declare the scalar variable \"%1\"."},
    {207, 16, 1, "Invalid column name '%1'."},
    {208, 16, 1, "Invalid object name '%1'."},
    {229, 14, 5, "The %1 permission was denied on the object '%2', database 'msdb', schema 'dbo'."},
    {297, 16, 1, "The user does not have permission to perform this action."},
    {300, 14, 1, "%1 permission was denied on object '%2', database 'master'."},
    {911, 16, 1, "Database '%1' does not exist. Make sure that the name is entered correctly."},
    {916, 14, 1, "The server principal \"%1\" is not able to access the database \"%2\" under the "
        "current security context."},
    {4621, 16, 10, "Permissions at the server scope can only be granted when the current database "
        "is master"},
    {4060, 11, 1, "Cannot open database \"%1\" requested by the login. The login failed."},
    {18456, 14, 1, "Login failed for user '%1'."},
    {18452, 14, 1, "Login failed. The login is from an untrusted domain and cannot be used with "
        "Integrated authentication."},
    {18401, 14, 1, "Login failed for user '%1'. Reason: Server is in script upgrade mode. Only "
        "administrator can connect at this time."},
    {18461, 14, 1, "Login failed for user '%1'. Reason: Server is in single user mode. Only one "
        "administrator can connect at this time."},
    {18470, 14, 1, "Login failed for user '%1'. Reason: The account is disabled."},
    {18486, 14, 1, "Login failed for user '%1' because the account is currently locked out. The "
        "system administrator can unlock it. "},
    {18487, 14, 1, "Login failed for user '%1'. Reason: The password of the account has expired."},
    {18488, 14, 1, "Login failed for user '%1'. Reason: The password of the account must be "
        "changed."},
    /* 2.3 availability groups */
    {922, 14, 1, "Database '%1' is being recovered. Waiting until recovery is finished."},
    {927, 14, 1, "Database '%1' cannot be opened. It is in the middle of a restore."},
    {976, 14, 1, "The target database, '%1', is participating in an availability group and is "
        "currently not accessible for queries. Either data movement is suspended or the "
        "availability replica is not enabled for read access. To allow read-only access to this "
        "and other databases in the availability group, enable read access to one or more "
        "secondary availability replicas in the group.  For more information, see the ALTER "
        "AVAILABILITY GROUP statement in SQL Server Books Online."},
    {978, 14, 1, "The target database ('%1') is in an availability group and is currently "
        "accessible for connections when the application intent is set to read only. For more "
        "information about application intent, see SQL Server Books Online."},
    {979, 14, 1, "The target database ('%1') is in an availability group and currently does not "
        "allow read only connections. For more information about application intent, see SQL "
        "Server Books Online."},
    {983, 14, 1, "Unable to access availability database '%1' because the database replica is not "
        "in the PRIMARY or SECONDARY role. Connections to an availability database is permitted "
        "only when the database replica is in the PRIMARY or SECONDARY role. Try the operation "
        "again later."},
    {988, 14, 1, "Unable to access database '%1' because it lacks a quorum of nodes for high "
        "availability. Try the operation again later."},
    {1088, 16, 1, "Cannot find the object \"%1\" because it does not exist or you do not have "
        "permissions."},
    {3906, 16, 1, "Failed to update database \"%1\" because the database is read-only."},
    /* The texts of 41113 and 41122 are cut where sqlserver-facts cuts them; no T-SQL raises them here. */
    {41113, 16, 1, "Cannot failover availability group '%1' because a failover command is already "
        "pending on the local replica of this availability group."},
    {41122, 16, 1, "Cannot failover availability group '%1'. The local availability replica is "
        "already the primary replica of the availability group."},
    {41142, 16, 1, "The availability replica for availability group '%1' on this instance of SQL "
        "Server cannot become the primary replica. One or more databases are not synchronized or "
        "have not joined the availability group. If the availability replica uses the "
        "asynchronous-commit mode, consider performing a forced manual failover (with possible data "
        "loss). Otherwise, once all local secondary databases are joined and synchronized, you can "
        "perform a planned manual failover to this secondary replica (without data loss). For more "
        "information, see SQL Server Books Online."},
    /* 2.1 keys; the objects named in 15558, 15579 and 15315 are unconfirmed (10.3) */
    {15151, 16, 1, "Cannot %1 '%2', because it does not exist or you do not have "
        "permission."},
    /* Logins and users: texts and classes of the list of 15000 to 15999 (ERR), H; states M */
    {15007, 16, 1, "'%1' is not a valid login or you do not have permission."},
    {15023, 16, 1, "User, group, or role '%1' already exists in the current database."},
    {15025, 16, 1, "The server principal '%1' already exists."},
    {15063, 16, 1, "The login already has an account under a different user name."},
    {15433, 16, 1, "Supplied parameter sid is in use."},
    {15434, 16, 1, "Could not drop login '%1' as the user is currently logged in."},
    {15116, 16, 1, "Password validation failed. The password does not meet the operating system "
        "policy requirements because it is too short."},
    {15118, 16, 1, "Password validation failed. The password does not meet the operating system "
        "policy requirements because it is not complex enough."},
    {15156, 16, 1, "The password that you specified is too long. The password should have no more "
        "than %1 characters."},
    {15217, 16, 1, "Property cannot be updated or deleted. Property '%1' does not exist for '%2'."},
    {15233, 16, 1, "Property cannot be added. Property '%1' already exists for '%2'."},
    {15240, 16, 1, "Cannot write into file '%1'. Verify that you have write permissions, that the "
        "file path is valid, and that the file does not already exist."},
    {15247, 16, 1, "User does not have permission to perform this action."},
    {15276, 16, 1, "Cannot provision master key passwords for system databases."},
    {15313, 16, 1, "The key is not encrypted using the specified decryptor."},
    {15315, 16, 1, "The key '%1' is not open. Please open the key before using it."},
    {15557, 16, 1, "There is already a encryption by password '%1'."},
    {15558, 16, 1, "Cannot drop encryption by password '%1'."},
    {15317, 16, 1, "The master key file does not exist or has invalid format."},
    {15329, 16, 1, "The current master key cannot be decrypted. If this is a database master key, "
        "you should attempt to open it in the session before performing this operation. The FORCE "
        "option can be used to ignore this error and continue the operation but the data encrypted "
        "by the old master key will be lost."},
    {15465, 16, 1, "The private key password is invalid."},
    {15466, 16, 1, "An error occurred during decryption."},
    {15578, 16, 1, "There is already a master key in the database. Please drop it before "
        "performing this statement."},
    {15579, 16, 1, "Adding an encryption to the symmetric key failed. An encryption by the same "
        "password '%1' may already exist."},
    {15580, 16, 1, "Cannot drop master key because %1 '%2' is encrypted by it."},
    {15581, 16, 1, "Please create a master key in the database or open the master key in the "
        "session before performing this operation."},
    {15584, 10, 1, "An error occurred while decrypting certificate '%1' that was encrypted by the "
        "old master key. The error was ignored because the FORCE option was specified."},
    {15585, 10, 1, "The current master key cannot be decrypted. The error was ignored because the "
        "FORCE option was specified."},
    {15588, 10, 1, "The old and new master keys are identical. No data re-encryption is required."},
    {15594, 16, 1, "The password is already provisioned for the database '%1'"},
    {15595, 16, 1, "The password cannot be dropped because it is not provisioned for the database "
        "'%1'"},
    /* 2.4; sql-docs, list of 26000 to 27999, H */
    {27219, 16, 1, "Caller does not have permissions to execute the stored procedure."},
    /*
     * Texts and severities of the next: MicrosoftDocs/sql-docs, "Database Engine events and errors"
     * of SQL Server 2017 and 2019 (dumps of sys.messages), H. States, where a server printed one:
     * 596 is listed as 16 and raised as class 21, state 1 (learn.microsoft.com, SSIS known issues),
     * H; 1205 state 51, 1222 states 51 and 56, 3902, 3903 and 15232 state 1 (published output), H.
     * State of 2812, 15282, 15352, 15465 and the class of 15282, which is listed as 10: M.
     */
    {596, 21, 1, "Cannot continue the execution because the session is in the kill state."},
    {1205, 13, 51, "Transaction (Process ID %1) was deadlocked on lock resources with another "
        "process and has been chosen as the deadlock victim. Rerun the transaction."},
    {1222, 16, 51, "Lock request time out period exceeded."},
    {2812, 16, 62, "Could not find stored procedure '%1'."},
    {3902, 16, 1, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."},
    {3903, 16, 1, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."},
    {15232, 16, 1, "A certificate with name '%1' already exists or this certificate already has "
        "been added to the database."},
    {15282, 16, 1, "A key with name '%1' or user defined unique identifier already exists or you "
        "do not have permissions to create it."},
    {15352, 16, 1, "The certificate cannot be dropped because one or more entities are either "
        "signed or encrypted using it."},
    /* "KILL": texts of the same lists, H; states as published output has them, M */
    {6102, 14, 2, "User does not have permission to use the KILL statement."},
    {6104, 16, 1, "Cannot use KILL to kill your own process."},
    {6106, 16, 2, "Process ID %1 is not an active process ID."},
    /* MS-TDS and every capture: information after a login and USE */
    {5701, 0, 2, "Changed database context to '%1'."},
    {5703, 0, 1, "Changed language setting to %1."},
};
/* clang-format on */

static const struct server_error *find(int32_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (errors[i].number == number)
            return &errors[i];
    }
    return NULL;
}

bool server_error_is_known(int32_t number)
{
    return find(number) != NULL;
}

const struct server_error *server_error_find(int32_t number)
{
    const struct server_error *error = find(number);

    if (error)
        return error;
    fprintf(stderr, "sqlsim: error %d has no text\n", number);
    abort();
}

char *server_error_text(const struct server_error *error, const char *first, const char *second)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);

    if (!stream)
        abort();
    for (const char *at = error->text; *at; at++) {
        if (*at == '%' && (at[1] == '1' || at[1] == '2')) {
            const char *argument = *++at == '1' ? first : second;

            fputs(argument ? argument : "", stream);
        } else {
            fputc(*at, stream);
        }
    }
    if (fclose(stream) != 0)
        abort();
    return text;
}
