/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/sql.h"
#include "libescrow/sql_environment.h"
#include "libescrow/sql_socket.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <string.h>

/* MS-TDS 2.2.3.1 (packet header), 2.2.6.5 (PRELOGIN). */
#define TDS_HEADER 8
#define TDS_PRELOGIN 0x12
#define TDS_REPLY 0x04
#define TDS_LAST_PACKET 0x01
#define TDS_PACKET_MAX 4096
#define OPTION_BYTES 5
#define OPTION_ENCRYPTION 0x01
#define OPTION_END 0xff
#define ENCRYPT_ON 1
#define ENCRYPT_REQUIRED 3

/* The name of the certificate that SQL Server makes at each start where none is installed. */
#define FALLBACK_NAME "SSL_Self_Signed_Fallback"

/* VERSION 7.4, ENCRYPTION on, INSTOPT empty, THREADID 0: what any client sends. */
static const uint8_t prelogin[] = {
    0x00, 0x00, 0x15, 0x00, 0x06, 0x01,       0x00, 0x1b, 0x00, 0x01, 0x02,
    0x00, 0x1c, 0x00, 0x01, 0x03, 0x00,       0x1d, 0x00, 0x04, 0xff, 0x07,
    0x04, 0x00, 0x00, 0x00, 0x00, ENCRYPT_ON, 0x00, 0x00, 0x00, 0x00, 0x00,
};

struct handshake {
    const struct sql_instance *instance;
    int fd;
    int64_t deadline_ms;
    SSL_CTX *settings;
    SSL *tls;
    char detail[200]; /* what a text may add, or empty */
};

struct packet {
    uint8_t type;
    size_t len;
    uint8_t bytes[TDS_PACKET_MAX];
};

static void handshake_deinit(struct handshake *handshake)
{
    SSL_free(handshake->tls);
    SSL_CTX_free(handshake->settings);
    cleanup_close(&handshake->fd);
    ERR_clear_error();
}

static enum escrow_err write_packet(const struct handshake *handshake, const uint8_t *bytes,
                                    size_t len)
{
    uint8_t packet[TDS_PACKET_MAX] = {TDS_PRELOGIN, TDS_LAST_PACKET};

    packet[2] = (uint8_t)((len + TDS_HEADER) >> 8);
    packet[3] = (uint8_t)(len + TDS_HEADER);
    memcpy(packet + TDS_HEADER, bytes, len);
    return sql_socket_write(handshake->fd, packet, len + TDS_HEADER, handshake->deadline_ms);
}

/* ESCROW_ERR_MALFORMED if what comes is no TDS packet. */
static enum escrow_err read_packet(const struct handshake *handshake, struct packet *ret_packet)
{
    uint8_t header[TDS_HEADER];
    size_t size;
    enum escrow_err err =
        sql_socket_read(handshake->fd, header, sizeof(header), handshake->deadline_ms);

    if (err)
        return err;
    size = (size_t)header[2] << 8 | header[3];
    if ((header[0] != TDS_REPLY && header[0] != TDS_PRELOGIN) || size <= TDS_HEADER ||
        size > TDS_HEADER + sizeof(ret_packet->bytes))
        return ESCROW_ERR_MALFORMED;
    ret_packet->type = header[0];
    ret_packet->len = size - TDS_HEADER;
    return sql_socket_read(handshake->fd, ret_packet->bytes, ret_packet->len,
                           handshake->deadline_ms);
}

/* The server's ENCRYPTION option, or -1. */
static int encryption_of(const struct packet *reply)
{
    for (size_t at = 0; at + OPTION_BYTES <= reply->len; at += OPTION_BYTES) {
        const uint8_t *option = reply->bytes + at;
        size_t offset = (size_t)option[1] << 8 | option[2];

        if (option[0] == OPTION_END)
            break;
        if (option[0] == OPTION_ENCRYPTION)
            return offset < reply->len ? reply->bytes[offset] : -1;
    }
    return -1;
}

static enum sql_diagnosis ask_prelogin(struct handshake *handshake)
{
    struct packet reply;
    enum escrow_err err = write_packet(handshake, prelogin, sizeof(prelogin));
    int encryption;

    if (!err)
        err = read_packet(handshake, &reply);
    if (err == ESCROW_ERR_TIMEOUT) {
        snprintf(handshake->detail, sizeof(handshake->detail),
                 "the port accepts connections, then nothing comes: does the instance hang");
        return SQL_DIAGNOSIS_UNREACHABLE;
    }
    if (err || reply.type != TDS_REPLY)
        return SQL_DIAGNOSIS_NOT_SQL_SERVER;
    encryption = encryption_of(&reply);
    if (encryption < 0)
        return SQL_DIAGNOSIS_NOT_SQL_SERVER;
    if (encryption != ENCRYPT_ON && encryption != ENCRYPT_REQUIRED)
        return SQL_DIAGNOSIS_ENCRYPTION_OFF;
    return SQL_DIAGNOSIS_OK;
}

/* TLS 1.2 is the newest that TDS 7.4 carries, and the oldest that we accept. */
static bool prepare_tls(struct handshake *handshake)
{
    const struct sql_instance *instance = handshake->instance;
    X509_VERIFY_PARAM *rules;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    handshake->settings = SSL_CTX_new(TLS_client_method());
    handshake->tls = handshake->settings ? SSL_new(handshake->settings) : NULL;
    if (!in || !out || !handshake->tls) {
        BIO_free(in);
        BIO_free(out);
        return false;
    }
    SSL_set_bio(handshake->tls, in, out);
    SSL_set_connect_state(handshake->tls);
    /* The handshake goes on with any certificate: its verdict is read afterwards. */
    SSL_set_verify(handshake->tls, SSL_VERIFY_NONE, NULL);
    rules = SSL_get0_param(handshake->tls);
    /* As the driver: any certificate in ca_file is trusted, self-signed or intermediate. */
    X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
    return SSL_set_min_proto_version(handshake->tls, TLS1_2_VERSION) == 1 &&
           SSL_set_max_proto_version(handshake->tls, TLS1_2_VERSION) == 1 &&
           (X509_VERIFY_PARAM_set1_ip_asc(rules, instance->tls_name) == 1 ||
            X509_VERIFY_PARAM_set1_host(rules, instance->tls_name, 0) == 1);
}

/* Sends what OpenSSL has written, in PRELOGIN packets. */
static enum escrow_err flush(const struct handshake *handshake)
{
    uint8_t bytes[TDS_PACKET_MAX - TDS_HEADER];
    int len;

    while ((len = BIO_read(SSL_get_wbio(handshake->tls), bytes, sizeof(bytes))) > 0) {
        enum escrow_err err = write_packet(handshake, bytes, (size_t)len);

        if (err)
            return err;
    }
    return ESCROW_OK;
}

static enum sql_diagnosis diagnose_failure(struct handshake *handshake)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    const char *text = ERR_reason_error_string(code);

    if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION ||
        reason == SSL_R_WRONG_SSL_VERSION)
        return SQL_DIAGNOSIS_TLS_TOO_OLD;
    snprintf(handshake->detail, sizeof(handshake->detail), "%s", text ? text : "no reason");
    return SQL_DIAGNOSIS_TLS_FAILED;
}

static enum sql_diagnosis shake(struct handshake *handshake)
{
    for (;;) {
        struct packet packet;
        enum escrow_err err;
        int rc;

        ERR_clear_error();
        rc = SSL_do_handshake(handshake->tls);
        if (rc != 1 && SSL_get_error(handshake->tls, rc) != SSL_ERROR_WANT_READ)
            return diagnose_failure(handshake);
        err = flush(handshake);
        if (!err && rc == 1)
            return SQL_DIAGNOSIS_OK;
        if (!err)
            err = read_packet(handshake, &packet);
        if (err == ESCROW_ERR_TIMEOUT)
            return SQL_DIAGNOSIS_UNREACHABLE;
        if (err || BIO_write(SSL_get_rbio(handshake->tls), packet.bytes, (int)packet.len) !=
                       (int)packet.len) {
            snprintf(handshake->detail, sizeof(handshake->detail),
                     "the server ended the handshake without an answer");
            return SQL_DIAGNOSIS_TLS_FAILED;
        }
    }
}

/* The names of a certificate for a message: the first DNS name, else the common name. */
static void describe_name(X509 *certificate, char *ret_text, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char name[128] = "";

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !name[0]; i++) {
        const GENERAL_NAME *entry = sk_GENERAL_NAME_value(names, i);

        if (entry->type == GEN_DNS)
            snprintf(name, sizeof(name), "%.*s", ASN1_STRING_length(entry->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(entry->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    if (!name[0])
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                                  sizeof(name));
    for (char *at = name; *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    snprintf(ret_text, cap, "it names %s", name[0] ? name : "nothing");
}

static enum sql_diagnosis judge(struct handshake *handshake)
{
    X509 *certificate = SSL_get0_peer_certificate(handshake->tls);
    long verified = SSL_get_verify_result(handshake->tls);
    char name[64] = "";

    if (!certificate)
        return SQL_DIAGNOSIS_TLS_FAILED;
    X509_NAME_get_text_by_NID(X509_get_issuer_name(certificate), NID_commonName, name,
                              sizeof(name));
    if (strcmp(name, FALLBACK_NAME) == 0 && verified != X509_V_OK)
        return SQL_DIAGNOSIS_FALLBACK_CERTIFICATE;
    switch (verified) {
    case X509_V_OK:
        return SQL_DIAGNOSIS_OK;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        describe_name(certificate, handshake->detail, sizeof(handshake->detail));
        return SQL_DIAGNOSIS_WRONG_NAME;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return SQL_DIAGNOSIS_EXPIRED;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return SQL_DIAGNOSIS_UNKNOWN_CA;
    default:
        snprintf(handshake->detail, sizeof(handshake->detail), "%s",
                 X509_verify_cert_error_string(verified));
        return SQL_DIAGNOSIS_TLS_FAILED;
    }
}

static enum sql_diagnosis diagnose(struct handshake *handshake)
{
    const struct sql_instance *instance = handshake->instance;
    struct sql_socket_dialled dialled;
    enum sql_diagnosis diagnosis;
    char copy[32];
    int error = 0;
    enum escrow_err err = sql_socket_dial(instance->address, instance->port, handshake->deadline_ms,
                                          &dialled, &error);

    if (err == ESCROW_ERR_DENIED)
        return SQL_DIAGNOSIS_REFUSED;
    if (err) {
        snprintf(handshake->detail, sizeof(handshake->detail), "%s",
                 error ? strerror(error) : "the name has no address");
        return SQL_DIAGNOSIS_UNREACHABLE;
    }
    handshake->fd = dialled.fd;
    diagnosis = ask_prelogin(handshake);
    if (diagnosis != SQL_DIAGNOSIS_OK)
        return diagnosis;
    if (!prepare_tls(handshake))
        return SQL_DIAGNOSIS_TLS_FAILED;
    snprintf(copy, sizeof(copy), "/proc/self/fd/%d", sql_environment_ca_fd());
    if (SSL_CTX_load_verify_file(handshake->settings, copy) != 1) {
        snprintf(handshake->detail, sizeof(handshake->detail), "ca_file cannot be read");
        return SQL_DIAGNOSIS_TLS_FAILED;
    }
    diagnosis = shake(handshake);
    return diagnosis == SQL_DIAGNOSIS_OK ? judge(handshake) : diagnosis;
}

static const struct {
    const char *code;
    const char *text;
} diagnoses[] = {
    [SQL_DIAGNOSIS_OK] = {"ok", "TLS is right, so look at the login"},
    [SQL_DIAGNOSIS_REFUSED] =
        {"refused",
         "nothing listens there; is SQL Server started, and TCP/IP enabled on that port"},
    [SQL_DIAGNOSIS_UNREACHABLE] = {"unreachable",
                                   "no answer in time; look at address and firewall"},
    [SQL_DIAGNOSIS_NOT_SQL_SERVER] =
        {"not_sql_server",
         "what answers is not SQL Server, or it forces strict encryption (TDS 8), "
         "which the driver cannot do: turn Force Strict Encryption off"},
    [SQL_DIAGNOSIS_ENCRYPTION_OFF] =
        {"encryption_off",
         "the answer offers no encryption beyond the login: set Force Encryption to "
         "Yes and install a certificate; if that is done, somebody in between "
         "alters the connection"},
    [SQL_DIAGNOSIS_FALLBACK_CERTIFICATE] =
        {"fallback_certificate",
         "the instance uses the certificate that SQL Server makes for itself "
         "at each start, which proves nothing: install one with the name "
         "of tls_name and restart the instance"},
    [SQL_DIAGNOSIS_UNKNOWN_CA] = {"unknown_ca", "ca_file does not hold the CA of the instance's "
                                                "certificate, or the server is not the one it "
                                                "should be"},
    [SQL_DIAGNOSIS_WRONG_NAME] = {"wrong_name",
                                  "the instance's certificate is for another name than "
                                  "tls_name: correct the one or the other"},
    [SQL_DIAGNOSIS_EXPIRED] = {"expired",
                               "the instance's certificate, or its CA's, has expired or is "
                               "not valid yet: renew it, and look at both clocks"},
    [SQL_DIAGNOSIS_TLS_TOO_OLD] = {"tls_too_old",
                                   "the instance speaks no TLS 1.2: update SQL Server, "
                                   "and enable TLS 1.2 on its host"},
    [SQL_DIAGNOSIS_TLS_FAILED] = {"tls_failed", "the TLS handshake failed"},
};

enum sql_diagnosis sql_diagnose(const struct sql_instance *instance, unsigned timeout_s,
                                char *ret_text, size_t cap)
{
    CLEANUP(handshake_deinit)
    struct handshake handshake = {
        .instance = instance,
        .fd = -1,
        .deadline_ms = sql_socket_now_ms() + (int64_t)timeout_s * 1000,
    };
    enum sql_diagnosis diagnosis = diagnose(&handshake);
    const char *detail = handshake.detail;

    snprintf(ret_text, cap, "%s (%s port %u, tls_name %s): %s%s%s%s", instance->name,
             instance->address, instance->port, instance->tls_name, diagnoses[diagnosis].text,
             detail[0] ? " (" : "", detail, detail[0] ? ")" : "");
    return diagnosis;
}

const char *sql_diagnosis_code(enum sql_diagnosis diagnosis)
{
    return (size_t)diagnosis < ARRAY_LEN(diagnoses) ? diagnoses[diagnosis].code : "unknown";
}
