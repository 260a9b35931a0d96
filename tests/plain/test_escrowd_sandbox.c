/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a role of escrowd cannot do even when it is taken over: each row is one attempt in each
 * role, as released, started as the supervisor starts it. Then: what somebody else cannot do to a
 * role, and what a role says on a kernel that lacks a part.
 */
#include "escrowd/credentials.h"
#include "escrowd/front_listener.h"
#include "escrowd/roles.h"
#include "escrowd/spawn.h"
#include "libescrow/cleanup.h"
#include "libescrow/key.h"
#include "libescrow/log.h"
#include "tests/plain/attempts.h"
#include "tests/plain/role_process.h"
#include "tests/plain/row_test.h"
#include "tests/unit/certificates.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KILLED ROLE_KILLED
#define USER_BASE 61001 /* + role: numbers that no account has */

/* What an attempt is made on. */
enum target {
    TARGET_NONE,
    TARGET_PASSWD,
    TARGET_STATE,
    TARGET_KEY,
    TARGET_PASSWORD,
    TARGET_AUTHORITY,
    TARGET_NEW,
    TARGET_DEVICE,
    TARGET_OTHER_PORT,
    TARGET_OWN_PORT,
    TARGET_TPM,
    TARGET_ABSTRACT,
    TARGET_SIBLING,
    TARGET_SIBLING_MEMORY,
    TARGETS
};

static const struct {
    const char *name;
    const char *attempt;
    enum target target;
    int keeper, front, prober;
} rows[] = {
    {"nothing at all", "nothing", TARGET_NONE, 0, 0, 0},
    {"read /etc/passwd", "read", TARGET_PASSWD, EACCES, EACCES, EACCES},
    {"read the state", "read", TARGET_STATE, 0, EACCES, EACCES},
    {"write the state", "write", TARGET_STATE, 0, EACCES, EACCES},
    {"read the authority's key", "read", TARGET_AUTHORITY, 0, EACCES, EACCES},
    {"write the authority's key", "write", TARGET_AUTHORITY, EACCES, EACCES, EACCES},
    {"read the TLS key", "read", TARGET_KEY, EACCES, EACCES, EACCES},
    {"read the password of the instance", "read", TARGET_PASSWORD, EACCES, EACCES, EACCES},
    {"create a file", "create", TARGET_NEW, EACCES, EACCES, EACCES},
    {"remove a file", "remove", TARGET_PASSWD, EACCES, KILLED, KILLED},
    {"make a symbolic link", "link", TARGET_NEW, KILLED, KILLED, KILLED},
    {"open a device", "read", TARGET_DEVICE, EACCES, EACCES, EACCES},
    {"connect to another port", "connect", TARGET_OTHER_PORT, KILLED, KILLED, EACCES},
    {"connect to the instance", "connect", TARGET_OWN_PORT, KILLED, KILLED, 0},
    {"bind", "bind", TARGET_NONE, KILLED, KILLED, KILLED},
    {"listen", "listen", TARGET_NONE, KILLED, KILLED, KILLED},
    {"connect to the TPM", "connect_unix", TARGET_TPM, 0, KILLED, EACCES},
    {"connect to an abstract socket", "connect_unix", TARGET_ABSTRACT, ECONNREFUSED, KILLED,
     EACCES},
    {"open a netlink socket", "netlink", TARGET_NONE, KILLED, KILLED, EACCES},
    {"open a packet socket", "packet", TARGET_NONE, KILLED, KILLED, KILLED},
    {"open a socket of a virtual machine", "vsock", TARGET_NONE, KILLED, KILLED, KILLED},
    {"fork", "fork", TARGET_NONE, KILLED, KILLED, KILLED},
    {"exec", "exec", TARGET_NONE, KILLED, KILLED, KILLED},
    /* the one that talks to the TPM, and what it may is what the keeper may */
    {"start a thread", "thread", TARGET_NONE, 0, KILLED, KILLED},
    {"read /etc/passwd in a thread", "thread_read", TARGET_PASSWD, EACCES, KILLED, KILLED},
    {"fork in a thread", "thread_fork", TARGET_NONE, KILLED, KILLED, KILLED},
    {"trace a sibling", "ptrace", TARGET_SIBLING, KILLED, KILLED, KILLED},
    {"read a sibling's memory", "process_vm_readv", TARGET_SIBLING, KILLED, KILLED, KILLED},
    {"open a sibling's memory", "read", TARGET_SIBLING_MEMORY, EACCES, EACCES, EACCES},
    {"kill a sibling", "kill", TARGET_SIBLING, KILLED, KILLED, KILLED},
    {"kill a sibling's thread", "tgkill", TARGET_SIBLING, EPERM, EPERM, EPERM},
    {"hold a sibling", "pidfd_open", TARGET_SIBLING, KILLED, KILLED, KILLED},
    {"map code", "map_code", TARGET_NONE, KILLED, KILLED, KILLED},
    {"make code of data", "make_code", TARGET_NONE, KILLED, KILLED, KILLED},
    {"become dumpable", "dumpable", TARGET_NONE, KILLED, KILLED, KILLED},
    {"connect a descriptor that it has", "connect_fd", TARGET_NONE, EBADF, KILLED, EBADF},
    {"have signals sent by a descriptor", "own_fd", TARGET_NONE, KILLED, KILLED, KILLED},
    {"raise a limit", "limit", TARGET_NONE, KILLED, KILLED, KILLED},
#ifdef __x86_64__
    {"call by the table of x32", "x32", TARGET_NONE, KILLED, KILLED, KILLED},
    {"call by the table of 32-bit programs", "i386", TARGET_NONE, KILLED, KILLED, KILLED},
#endif
};

/*
 * The alerter runs programs that may need anything, so its user is what keeps it from the files and
 * processes of the others. The sibling is a keeper.
 */
static const struct {
    const char *name;
    const char *attempt;
    enum target target;
    int wanted;
} alerter_rows[] = {
    {"read /etc/passwd", "read", TARGET_PASSWD, 0},
    {"connect to a port", "connect", TARGET_OTHER_PORT, 0},
    {"read the state", "read", TARGET_STATE, EACCES},
    {"write the state", "write", TARGET_STATE, EACCES},
    {"read the authority's key", "read", TARGET_AUTHORITY, EACCES},
    {"read the TLS key", "read", TARGET_KEY, EACCES},
    {"read the password of the instance", "read", TARGET_PASSWORD, EACCES},
    {"remove a file", "remove", TARGET_PASSWD, EACCES},
    {"trace the keeper", "ptrace", TARGET_SIBLING, EPERM},
    {"read the keeper's memory", "process_vm_readv", TARGET_SIBLING, EPERM},
    {"open the keeper's memory", "read", TARGET_SIBLING_MEMORY, EACCES},
    {"kill the keeper", "kill", TARGET_SIBLING, EPERM},
    {"raise a limit", "limit", TARGET_NONE, EPERM},
};

struct fixture {
    char folder[64], config_path[96], texts[TARGETS][96];
    int config_fd, policy_fd, listener_fd, credentials_fd, own_fd, other_fd, tpm_fd, abstract_fd;
};

/* ---- the surroundings of a role ---- */

static const char *put(const struct fixture *fixture, const char *name, const char *text, uid_t uid,
                       char *ret_path)
{
    FILE *file;

    snprintf(ret_path, 96, "%s/%s", fixture->folder, name);
    file = fopen(ret_path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(ret_path, 0600), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(ret_path, uid, uid), 0);
    return ret_path;
}

static void make_certificates(struct fixture *fixture)
{
    struct authority authority = authority_new("test");
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    const struct leaf leaf = {
        .san = "URI:spiffe://test/a", .eku = "serverAuth", .from_s = -60, .until_s = 3600};
    X509 *certificate = certificate_new(&authority, key, &leaf);
    char path[96];

    snprintf(path, sizeof(path), "%s/ca.pem", fixture->folder);
    write_certificate(path, authority.certificate);
    snprintf(path, sizeof(path), "%s/certificate.pem", fixture->folder);
    write_certificate(path, certificate);
    snprintf(fixture->texts[TARGET_KEY], 96, "%s/key.pem", fixture->folder);
    assert_int_equal(key_write_private(key, fixture->texts[TARGET_KEY]), ESCROW_OK);
    X509_free(certificate);
    authority_deinit(&authority);
}

static int listen_on(struct fixture *fixture, enum target target)
{
    uint16_t port;
    int fd;

    assert_int_equal(front_listen("127.0.0.1", 0, &fd, &port), ESCROW_OK);
    if (target != TARGET_NONE)
        snprintf(fixture->texts[target], 96, "%u", port);
    return fd;
}

static void make_tpm(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/tpm", fixture->folder);
    fixture->tpm_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fixture->tpm_fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fixture->tpm_fd, 64), 0);
    assert_int_equal(chmod(address.sun_path, 0666), 0);
    snprintf(fixture->texts[TARGET_TPM], 96, "%s", address.sun_path);
}

/* In the machine's own network namespace. */
static void make_abstract(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t len = strlen(fixture->folder);

    snprintf(fixture->texts[TARGET_ABSTRACT], 96, "@%s", fixture->folder);
    memcpy(address.sun_path + 1, fixture->folder, len);
    fixture->abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fixture->abstract_fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)),
                     0);
    assert_int_equal(listen(fixture->abstract_fd, 64), 0);
}

static const char config_text[] =
    "member: a\n"
    "listen: {address: 127.0.0.1, port: 0}\n"
    "tls:\n"
    "  ca_file: %1$s/ca.pem\n"
    "  certificate_file: %1$s/certificate.pem\n"
    "  key_file: %1$s/key.pem\n"
    "tpm: {tcti: 'swtpm:path=%1$s/tpm', pcrs: [7]}\n"
    "state_folder: %1$s/state\n"
    "audit_folder: %1$s/audit\n"
    "policy_file: %1$s/policy\n"
    "authority_file: %1$s/authority\n"
    "users: {keeper: 61001, front: 61002, prober: 61003, alerter: 61004}\n"
    "instances:\n"
    "  - name: sql1\n"
    "    address: 127.0.0.1\n"
    "    port: %2$s\n"
    "    tls_name: sql1.test\n"
    "    ca_file: %1$s/ca.pem\n"
    "    login: prober\n"
    "    password_file: %1$s/password\n";

static const char policy_text[] = "groups:\n"
                                  "  - name: group\n"
                                  "    availability_group: AG\n"
                                  "    cluster_type: external\n"
                                  "    databases: [SSISDB]\n"
                                  "    replicas:\n"
                                  "      - {instance: sql1, server_name: SQL1}\n"
                                  "      - {instance: sql2, server_name: SQL2}\n"
                                  "      - {instance: sql3, server_name: SQL3}\n";

static void make_configuration(struct fixture *fixture)
{
    char path[96], text[2048];
    struct escrowd_tls files = {0};
    char ca[96], certificate[96];

    snprintf(text, sizeof(text), config_text, fixture->folder, fixture->texts[TARGET_OWN_PORT]);
    fixture->config_fd =
        open(put(fixture, "escrowd.yaml", text, 0, fixture->config_path), O_RDONLY | O_CLOEXEC);
    fixture->policy_fd = open(put(fixture, "policy", policy_text, 0, path), O_RDONLY | O_CLOEXEC);
    snprintf(ca, sizeof(ca), "%s/ca.pem", fixture->folder);
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem", fixture->folder);
    files.ca_file = ca;
    files.certificate_file = certificate;
    files.key_file = fixture->texts[TARGET_KEY];
    assert_int_equal(credentials_seal(&files, &fixture->credentials_fd), ESCROW_OK);
}

static void make_folder(const struct fixture *fixture, const char *name)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/%s", fixture->folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, USER_BASE, USER_BASE), 0);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *parent = getenv("TMPDIR");

    if (!fixture)
        return -1;
    *state = fixture;
    snprintf(fixture->folder, sizeof(fixture->folder), "%s/sandbox.XXXXXX",
             parent ? parent : "/tmp");
    /* Everybody may write there: it is the sandbox that refuses. */
    if (!mkdtemp(fixture->folder) || chmod(fixture->folder, 0777) < 0)
        return -1;
    make_folder(fixture, "state");
    make_folder(fixture, "audit");
    make_certificates(fixture);
    make_tpm(fixture);
    make_abstract(fixture);
    fixture->own_fd = listen_on(fixture, TARGET_OWN_PORT);
    fixture->other_fd = listen_on(fixture, TARGET_OTHER_PORT);
    fixture->listener_fd = listen_on(fixture, TARGET_NONE);
    put(fixture, "state/file", "x", USER_BASE, fixture->texts[TARGET_STATE]);
    put(fixture, "authority", "x", USER_BASE, fixture->texts[TARGET_AUTHORITY]);
    put(fixture, "password", "x", USER_BASE + 2, fixture->texts[TARGET_PASSWORD]);
    make_configuration(fixture);
    snprintf(fixture->texts[TARGET_PASSWD], 96, "/etc/passwd");
    snprintf(fixture->texts[TARGET_NEW], 96, "%s/new", fixture->folder);
    snprintf(fixture->texts[TARGET_DEVICE], 96, "/dev/zero");
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {
        "state/file",   "state",  "audit",   "authority",       "password", "policy",
        "escrowd.yaml", "ca.pem", "key.pem", "certificate.pem", "tpm"};
    struct fixture *fixture = *state;
    char path[96];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->folder, names[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(rmdir(fixture->folder), 0);
    close(fixture->config_fd);
    close(fixture->policy_fd);
    close(fixture->listener_fd);
    close(fixture->credentials_fd);
    close(fixture->own_fd);
    close(fixture->other_fd);
    close(fixture->tpm_fd);
    close(fixture->abstract_fd);
    free(fixture);
    return 0;
}

/* The role as spawn_role starts it, with files that are read from their start. */
static struct role_process role_of(struct fixture *fixture, enum ipc_peer_kind kind,
                                   const char **argv)
{
    const char *words[] = {"escrowd",
                           "--role",
                           spawn_role_name(kind),
                           "--config",
                           fixture->config_path,
                           "--instance",
                           kind == IPC_PEER_PROBER ? "sql1" : "",
                           NULL};

    memcpy(argv, words, sizeof(words));
    assert_int_equal(lseek(fixture->config_fd, 0, SEEK_SET), 0);
    assert_int_equal(lseek(fixture->policy_fd, 0, SEEK_SET), 0);
    return (struct role_process){.argv = argv,
                                 .fds = {-1, fixture->config_fd, fixture->policy_fd,
                                         kind == IPC_PEER_FRONT ? fixture->listener_fd : -1,
                                         kind == IPC_PEER_FRONT ? fixture->credentials_fd : -1},
                                 .attempt = "nothing"};
}

static int attempt_in(struct fixture *fixture, enum ipc_peer_kind kind, const char *attempt,
                      const char *argument)
{
    const char *argv[8];
    struct role_process role = role_of(fixture, kind, argv);
    char text[4096];
    int result;

    role.attempt = attempt;
    role.argument = argument;
    result = role_process_run(&role, text, sizeof(text));
    if (result >= ROLE_ENDED)
        print_error("%s", text);
    return result;
}

/* ---- the rows ---- */

static void assert_outcomes(struct fixture *fixture, size_t index)
{
    const int wanted[] = {[IPC_PEER_KEEPER] = rows[index].keeper,
                          [IPC_PEER_FRONT] = rows[index].front,
                          [IPC_PEER_PROBER] = rows[index].prober};
    enum target target = rows[index].target;
    bool has_sibling = target == TARGET_SIBLING || target == TARGET_SIBLING_MEMORY;

    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_PROBER; kind++) {
        const char *argv[8];
        struct role_sibling sibling = {.hold = -1};
        int got;

        if (has_sibling) {
            const struct role_process role = role_of(fixture, (enum ipc_peer_kind)kind, argv);

            sibling = role_sibling_start(&role);
            snprintf(fixture->texts[TARGET_SIBLING], 96, "%d", sibling.pid);
            snprintf(fixture->texts[TARGET_SIBLING_MEMORY], 96, "/proc/%d/mem", sibling.pid);
        }
        got = attempt_in(fixture, (enum ipc_peer_kind)kind, rows[index].attempt,
                         fixture->texts[target]);
        if (has_sibling)
            role_sibling_end(&sibling);
        if (got != wanted[kind])
            fail_msg("%s: %d, expected %d", spawn_role_name((enum ipc_peer_kind)kind), got,
                     wanted[kind]);
    }
}

static void test_row(void **state)
{
    const struct row_state *row = *state;

    if (role_process_landlock() < 6)
        skip(); /* this kernel lacks a part, and the roles say so */
    assert_outcomes(row->fixture, row->index);
}

static void test_alerter_row(void **state)
{
    const struct row_state *row = *state;
    struct fixture *fixture = row->fixture;
    const char *argv[8];
    const struct role_process keeper = role_of(fixture, IPC_PEER_KEEPER, argv);
    struct role_sibling sibling;
    int got;

    if (geteuid() != 0)
        skip(); /* all roles have one user */
    sibling = role_sibling_start(&keeper);
    snprintf(fixture->texts[TARGET_SIBLING], 96, "%d", sibling.pid);
    snprintf(fixture->texts[TARGET_SIBLING_MEMORY], 96, "/proc/%d/mem", sibling.pid);
    got = attempt_in(fixture, IPC_PEER_ALERTER, alerter_rows[row->index].attempt,
                     fixture->texts[alerter_rows[row->index].target]);
    role_sibling_end(&sibling);
    assert_int_equal(got, alerter_rows[row->index].wanted);
}

static void test_dead_call(void **state)
{
    const struct row_state *row = *state;
    char number[24];

    snprintf(number, sizeof(number), "%ld", dead_calls[row->index].number);
    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_PROBER; kind++) {
        int got = attempt_in(row->fixture, (enum ipc_peer_kind)kind, "call", number);

        if (got != KILLED)
            fail_msg("%s: %d", spawn_role_name((enum ipc_peer_kind)kind), got);
    }
}

/* ---- from outside ---- */

/* Another process of the role's user, without any sandbox. */
static int attack(uid_t uid, pid_t sibling)
{
    char path[64], byte;
    struct iovec here = {.iov_base = &byte, .iov_len = 1}, there = here;

    if (geteuid() == 0 && (setgid(uid) != 0 || setuid(uid) != 0))
        return 1;
    snprintf(path, sizeof(path), "/proc/%d/mem", sibling);
    if (open(path, O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 2;
    snprintf(path, sizeof(path), "/proc/%d/maps", sibling);
    if (open(path, O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 3;
    if (process_vm_readv(sibling, &here, 1, &there, 1, 0) >= 0 || errno != EPERM)
        return 4;
    if (ptrace(PTRACE_SEIZE, sibling, NULL, NULL) == 0 || errno != EPERM)
        return 5;
    return 0;
}

static void test_same_user(void **state)
{
    const struct row_state *row = *state;

    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_LAST; kind++) {
        const char *argv[8];
        const struct role_process role = role_of(row->fixture, (enum ipc_peer_kind)kind, argv);
        struct role_sibling sibling = role_sibling_start(&role);
        pid_t pid = fork();
        int status;

        if (pid == 0)
            _exit(attack(USER_BASE + (uid_t)kind - IPC_PEER_KEEPER, sibling.pid));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        role_sibling_end(&sibling);
        assert_int_equal(status, 0);
    }
}

/* ---- kernels that lack a part ---- */

static const struct {
    const char *name;
    const char *denied;
    const char *line;
    const char *attempt; /* shows that it really runs without */
    enum ipc_peer_kind kind;
    int error;
    enum target target;
    int wanted;
} lacking[] = {
    {"no Landlock", "landlock_create_ruleset", "has no Landlock", "read", IPC_PEER_KEEPER, ENOSYS,
     TARGET_PASSWD, 0},
    {"no Landlock, for front", "landlock_create_ruleset", "has no Landlock", "read", IPC_PEER_FRONT,
     ENOSYS, TARGET_PASSWD, EACCES},
    {"Landlock switched off", "landlock_create_ruleset", "has no Landlock", "connect",
     IPC_PEER_PROBER, EOPNOTSUPP, TARGET_OTHER_PORT, 0},
    {"no seccomp", "seccomp prctl=22", "has no seccomp filters", "bind", IPC_PEER_KEEPER, EINVAL,
     TARGET_NONE, EACCES},
    {"no seccomp, for front", "seccomp prctl=22", "has no seccomp filters", "read", IPC_PEER_FRONT,
     EINVAL, TARGET_PASSWD, EACCES},
    {"no namespaces", "unshare", "no network namespace of its own", "connect_unix", IPC_PEER_KEEPER,
     EPERM, TARGET_ABSTRACT, EPERM},
    /* CLONE_NEWNET alone: the unit takes CAP_SYS_ADMIN away */
    {"namespaces only for users", "unshare=0x40000000", "network: none", "write", IPC_PEER_KEEPER,
     EPERM, TARGET_STATE, 0},
    {"none of them", "landlock_create_ruleset seccomp prctl=22 unshare", "has no seccomp filters",
     "connect", IPC_PEER_FRONT, ENOSYS, TARGET_OTHER_PORT, 0},
};

static void test_lacking(void **state)
{
    const struct row_state *row = *state;
    struct fixture *fixture = row->fixture;
    size_t index = row->index;
    const char *argv[8];
    struct role_process role = role_of(row->fixture, lacking[index].kind, argv);
    char text[4096];
    int got;

    role.denied = lacking[index].denied;
    role.denied_with = lacking[index].error;
    role.attempt = lacking[index].attempt;
    role.argument = fixture->texts[lacking[index].target];
    got = role_process_run(&role, text, sizeof(text));
    if (!strstr(text, lacking[index].line) || !strstr(text, "sandbox: user"))
        fail_msg("no line \"%s\": %s", lacking[index].line, text);
    if (got != lacking[index].wanted)
        fail_msg("%s: %d: %s", lacking[index].attempt, got, text);
}

static void test_state_line(void **state)
{
    static const char *const networks[] = {[IPC_PEER_KEEPER] = "network: none",
                                           [IPC_PEER_FRONT] = "network: none",
                                           [IPC_PEER_PROBER] = "network: the machine's",
                                           [IPC_PEER_ALERTER] = "network: the machine's"};
    const struct row_state *row = *state;

    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_LAST; kind++) {
        const char *argv[8];
        struct role_process role = role_of(row->fixture, (enum ipc_peer_kind)kind, argv);
        char text[4096];

        assert_int_equal(role_process_run(&role, text, sizeof(text)), 0);
        assert_non_null(strstr(text, "sandbox: user"));
        assert_non_null(strstr(text, networks[kind]));
        assert_non_null(
            strstr(text, kind == IPC_PEER_ALERTER ? "system calls: any" : "system calls: listed"));
    }
}

/* The kernel's view of a role, not the role's own. */
static void test_seen_from_outside(void **state)
{
    const struct row_state *row = *state;

    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_PROBER; kind++) {
        const char *argv[8];
        const struct role_process role = role_of(row->fixture, (enum ipc_peer_kind)kind, argv);
        struct role_sibling sibling = role_sibling_start(&role);
        const int user = USER_BASE + kind - IPC_PEER_KEEPER;
        char wanted[64], text[256];

        role_sibling_check(&sibling, kind == IPC_PEER_KEEPER); /* its TPM has one */
        if (geteuid() == 0) {
            role_sibling_status(&sibling, "CapPrm:", text, sizeof(text));
            assert_string_equal(text, "0000000000000000");
            snprintf(wanted, sizeof(wanted), "%d\t%d\t%d\t%d", user, user, user, user);
            role_sibling_status(&sibling, "Uid:", text, sizeof(text));
            assert_string_equal(text, wanted);
            role_sibling_status(&sibling, "Gid:", text, sizeof(text));
            assert_string_equal(text, wanted);
            role_sibling_status(&sibling, "Groups:", text, sizeof(text));
            assert_int_equal(strspn(text, " "), strlen(text));
            assert_int_equal(role_sibling_shares_network(&sibling), kind == IPC_PEER_PROBER);
        }
        role_sibling_end(&sibling);
    }
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "--role") == 0) {
        log_init(argv[2], LOG_LEVEL_INFO);
        return escrow_err_exit_code(roles_run(argv[2], argv[4], argv[6]));
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        row_test_add(test_row, i, "in each role: %s", rows[i].name);
    for (size_t i = 0; i < ARRAY_LEN(alerter_rows); i++)
        row_test_add(test_alerter_row, i, "in the alerter: %s", alerter_rows[i].name);
    for (size_t i = 0; i < dead_call_count; i++)
        row_test_add(test_dead_call, i, "kills each role: %s", dead_calls[i].name);
    for (size_t i = 0; i < ARRAY_LEN(lacking); i++)
        row_test_add(test_lacking, i, "a kernel with %s", lacking[i].name);
    row_test_add(test_same_user, 0, "a process of its user cannot read or trace a role");
    row_test_add(test_state_line, 0, "one line says what is on");
    row_test_add(test_seen_from_outside, 0, "the kernel says so too");
    return row_test_run(setup, teardown);
}
