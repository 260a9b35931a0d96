/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/statements.h"

/* clang-format off */
static const struct statement statements[] = {
    {"CREATE MASTER KEY ENCRYPTION BY PASSWORD = $text", statement_create_master_key, "1.1, 1.4"},
    {"DROP MASTER KEY", statement_drop_master_key, "1.1, 1.4"},
    {"ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY", statement_drop_service_key, "1.4"},
    {"ALTER MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = $text", statement_regenerate,
     "1.1, 1.4"},
    {"ALTER MASTER KEY FORCE REGENERATE WITH ENCRYPTION BY PASSWORD = $text",
     statement_force_regenerate, "1.1, 1.4"},
    {"BACKUP MASTER KEY TO FILE = $text ENCRYPTION BY PASSWORD = $text",
     statement_backup_master_key, "1.1, 1.4"},
    {"RESTORE MASTER KEY FROM FILE = $text DECRYPTION BY PASSWORD = $text"
     " ENCRYPTION BY PASSWORD = $text", statement_restore_master_key, "1.1, 1.4"},
    {"RESTORE MASTER KEY FROM FILE = $text DECRYPTION BY PASSWORD = $text"
     " ENCRYPTION BY PASSWORD = $text FORCE", statement_force_restore_master_key, "1.1, 1.4"},
    {"ALTER SERVICE MASTER KEY REGENERATE", statement_regenerate_service_key,
     "sql-docs, alter-service-master-key"},
    {"ALTER SERVICE MASTER KEY FORCE REGENERATE", statement_force_regenerate_service_key,
     "sql-docs, alter-service-master-key"},
    {"CREATE CERTIFICATE $name WITH SUBJECT = $text", statement_create_certificate, "3"},
    {"CREATE CERTIFICATE $name WITH SUBJECT = $text, EXPIRY_DATE = $text",
     statement_create_certificate, "3"},
    {"CREATE CERTIFICATE $name ENCRYPTION BY PASSWORD = $text WITH SUBJECT = $text",
     statement_create_certificate_with_password, "3"},
    {"DROP CERTIFICATE $name", statement_drop_certificate, "3"},
    {"CREATE SYMMETRIC KEY $name WITH ALGORITHM = $name ENCRYPTION BY CERTIFICATE $name",
     statement_create_symmetric_key, "3"},
    {"OPEN SYMMETRIC KEY $name DECRYPTION BY CERTIFICATE $name", statement_open_symmetric_key,
     "1.3, 3"},
    {"CLOSE SYMMETRIC KEY $name", statement_close_symmetric_key, "3"},
    {"DROP SYMMETRIC KEY $name", statement_drop_symmetric_key, "3"},
    {"EXEC sp_control_dbmasterkey_password $arguments", statement_control_password, "5.1"},
    {"EXECUTE sp_control_dbmasterkey_password $arguments", statement_control_password, "5.1"},
    {"DECLARE @status tinyint; EXEC $name.[internal].[refresh_replica_status]"
     " @server_name = $text, @status = @status OUTPUT; SELECT @status AS status",
     statement_refresh_replica, "5.2"},
    {"KILL $name", statement_kill, "sql-docs, kill"},
    /* sql-docs, begin-, commit-, rollback-transaction */
    {"BEGIN TRANSACTION", statement_begin, "1.3"},
    {"BEGIN TRAN", statement_begin, "1.3"},
    {"COMMIT TRANSACTION", statement_commit, "1.3"},
    {"COMMIT TRAN", statement_commit, "1.3"},
    {"COMMIT", statement_commit, "1.3"},
    {"ROLLBACK TRANSACTION", statement_rollback, "1.3"},
    {"ROLLBACK TRAN", statement_rollback, "1.3"},
    {"ROLLBACK", statement_rollback, "1.3"},
    /* sql-docs, sp-getapplock, sp-releaseapplock */
    {"EXEC sp_getapplock $arguments", statement_get_applock, "applock.h"},
    {"EXEC sp_releaseapplock $arguments", statement_release_applock, "applock.h"},
    {"DECLARE $name int; EXEC $name = sp_getapplock $arguments; SELECT $name",
     statement_select_get_applock, "applock.h"},
    {"DECLARE $name int; EXEC $name = sp_getapplock $arguments; SELECT $name AS $name",
     statement_select_get_applock, "applock.h"},
    {"DECLARE $name int; EXEC $name = sp_releaseapplock $arguments; SELECT $name",
     statement_select_release_applock, "applock.h"},
    {"DECLARE $name int; EXEC $name = sp_releaseapplock $arguments; SELECT $name AS $name",
     statement_select_release_applock, "applock.h"},
};
/* clang-format on */

const struct statement *statements_dba(size_t index)
{
    return index < ARRAY_LEN(statements) ? &statements[index] : NULL;
}
