/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/transaction.h"

#include "tests/sqlsim/memory.h"

#include <stdlib.h>

struct transaction {
    size_t depth;
    struct model_database *database; /* that it has changed, or NULL */
    struct master_key key;           /* as it was before, with what this instance notes of it */
    bool flag;
    uint32_t master_copy;
};

void transaction_begin(struct session *session)
{
    if (!session->transaction)
        session->transaction = memory_new(sizeof(*session->transaction));
    session->transaction->depth++;
}

size_t transaction_depth(const struct session *session)
{
    return session->transaction ? session->transaction->depth : 0;
}

static void end(struct session *session)
{
    struct transaction *transaction = session->transaction;

    if (transaction->database)
        transaction->database->writer = NULL;
    master_key_deinit(&transaction->key);
    free(transaction);
    session->transaction = NULL;
    applocks_end_transaction(&session->model->instances[session->instance].applocks, session->id);
}

int32_t transaction_commit(struct session *session)
{
    if (!session->transaction)
        return 3902;
    if (--session->transaction->depth == 0)
        end(session);
    return 0;
}

void transaction_rollback(struct session *session)
{
    struct transaction *transaction = session->transaction;

    if (!transaction)
        return;
    if (transaction->database) {
        struct master_key *key =
            &model_content(session->model, transaction->database, session->instance)->key;
        struct model_copy *copy = &transaction->database->copies[session->instance];
        struct master_key undone = *key;

        *key = transaction->key;
        transaction->key = undone; /* end() disposes of it */
        copy->flag = transaction->flag;
        copy->master_copy = transaction->master_copy;
    }
    end(session);
}

bool transaction_is_locked_out(const struct session *session)
{
    const struct model_database *database = session->database;

    return database && database->writer && database->writer != session;
}

int32_t transaction_touch(struct session *session)
{
    struct transaction *transaction = session->transaction;
    struct model_database *database = session->database;
    const struct model_copy *copy = &database->copies[session->instance];

    if (transaction_is_locked_out(session))
        return 1222;
    model_log(session->model, database, session->instance);
    if (!transaction || transaction->database)
        return transaction && transaction->database != database ? 1222 : 0;
    database->writer = session;
    transaction->database = database;
    transaction->flag = copy->flag;
    transaction->master_copy = copy->master_copy;
    master_key_copy(session_key(session), &transaction->key);
    return 0;
}
