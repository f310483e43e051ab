/* incidentctl token: creates, imports, lists, revokes and rotates bearer tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/table.h"
#include "incidentctl/support/time_text.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/session.h"
#include "incidentctl/token.h"
#include "http/bearer.h"
#include "base/digest.h"
#include "base/suggest.h"

enum {
    RANDOM_BYTES = 32, /* 256 bits */
    PREFIX_SHOWN = 8,  /* of a token of ours: "inct_" and three characters of the 43 random ones */
    IMPORTED_MIN = 16, /* a shorter token could be guessed */
    IMPORTED_SHOWN = 4,
    LABEL_BYTES_MAX = 63, /* whole in every log line: TOKEN_LABEL_MAX */
};

static const char token_start[] = "inct_";

/* The options of all subcommands; each looks at its own. */
struct token_options {
    const char *label;
    char scopes[48];     /* separated by commas; --scope may be repeated */
    const char *expires; /* as given; NULL where it was not */
    const char *grace;
    const char *id;
    bool as_json;
};

bool token_make(char token[TOKEN_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char random[RANDOM_BYTES + 1] = {0};
    size_t len = sizeof token_start - 1;

    if (getrandom(random, RANDOM_BYTES, 0) != RANDOM_BYTES) {
        return print_error("unable to make a token: no random bytes");
    }
    memcpy(token, token_start, len);
    for (size_t bit = 0; bit < (size_t)RANDOM_BYTES * 8; bit += 6) {
        unsigned pair = (unsigned)random[bit / 8] << 8 | random[bit / 8 + 1];

        token[len++] = digits[pair >> (10 - bit % 8) & 0x3f];
    }
    token[len] = '\0';
    explicit_bzero(random, sizeof random);
    return true;
}

static bool check_label(const char *label)
{
    if (label == NULL || *label == '\0') {
        return print_error("--label is required");
    }
    if (strlen(label) > LABEL_BYTES_MAX) {
        return print_error("--label must be at most 63 bytes long");
    }
    for (const char *c = label; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return print_error("--label must not contain control characters");
        }
    }
    return true;
}

/* Turns "upsert,delete" into what Postgres reads as text[]. Only what the schema allows gets through. */
static bool read_scopes(const char *words, char array[64])
{
    bool ok = *words != '\0' && strlen(words) < 32;

    for (const char *word = words; ok; word += strcspn(word, ",") + 1) {
        size_t len = strcspn(word, ",");

        ok = (len == 6 && strncmp(word, "upsert", len) == 0) ||
             (len == 6 && strncmp(word, "delete", len) == 0);
        if (word[len] == '\0') {
            break;
        }
    }
    if (!ok) {
        return print_error("--scope must be upsert, delete or upsert,delete");
    }
    snprintf(array, 64, "{%s}", words);
    return true;
}

/* Reads --expires; *time is NULL for a token that never does. */
static bool read_expiry(const char *text, char buffer[TIME_TEXT_MAX], const char **time)
{
    *time = NULL;
    if (text == NULL || strcmp(text, "never") == 0) {
        return true;
    }
    if (!time_parse_future(text, buffer)) {
        return print_error(
            "--expires must be an ISO-8601 timestamp in the future, a duration like 90d, or never");
    }
    *time = buffer;
    return true;
}

/* Stores a token's hash. Nobody else may make or rotate tokens meanwhile: the caller holds the lock. */
static bool insert_token(PGconn *session, struct slice token, size_t shown, const char *label,
                         const char *scopes, const char *expires)
{
    char hash[DIGEST_HEX_SIZE], prefix[PREFIX_SHOWN + 1];
    const char *const values[] = {hash, prefix, label, scopes, expires};
    PGresult *result;
    bool ok;

    digest_sha256(token, hash);
    snprintf(prefix, sizeof prefix, "%.*s", (int)shown, token.data);
    result = session_query(session,
                           "INSERT INTO intake.api_token (token_hash, prefix, label, scopes, expires_at) "
                           "VALUES (decode($1, 'hex'), $2, $3, $4::text[], $5::timestamptz) "
                           "ON CONFLICT (token_hash) DO NOTHING RETURNING token_id",
                           5, values);
    if (result == NULL) {
        return false;
    }
    ok = PQntuples(result) == 1 || print_error("this token is known already, perhaps as a revoked one");
    PQclear(result);
    return ok;
}

/* Starts a transaction in which nobody else makes, ends or rotates tokens. */
static bool begin(PGconn *session)
{
    return session_run(session, "BEGIN") && session_run(session, "SELECT pg_advisory_xact_lock(7236483713)");
}

/* Ends it, for good only where all went well. */
static bool end(PGconn *session, bool ok)
{
    return session_run(session, ok ? "COMMIT" : "ROLLBACK") && ok;
}

#define IS_LIVE "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"

static bool label_is_free(PGconn *session, const char *label)
{
    PGresult *result =
        session_query(session, "SELECT FROM intake.api_token WHERE label = $1 AND " IS_LIVE, 1, &label);
    bool ok = result != NULL &&
              (PQntuples(result) == 0 ||
               print_error("a token with this label is in use: rotate or revoke it, or take another "
                           "label"));

    PQclear(result);
    return ok;
}

static bool check_new(const struct token_options *options)
{
    char scopes[64], buffer[TIME_TEXT_MAX];
    const char *expires;

    return check_label(options->label) && read_scopes(options->scopes, scopes) &&
           read_expiry(options->expires, buffer, &expires);
}

/* Stores a token under a label that is not in use. */
static bool add_token(PGconn *session, struct slice token, size_t shown, const struct token_options *options)
{
    char scopes[64], buffer[TIME_TEXT_MAX];
    const char *expires;

    return read_scopes(options->scopes, scopes) && read_expiry(options->expires, buffer, &expires) &&
           begin(session) &&
           end(session, label_is_free(session, options->label) &&
                            insert_token(session, token, shown, options->label, scopes, expires));
}

/* Shows a new token. On standard output stands the token alone, for scripts. */
static bool show_token(const char *token, const char *label)
{
    fprintf(stderr, "The token \"%s\" is shown this once; keep it well:\n", label);
    return printf("%s\n", token) > 0;
}

static bool create(PGconn *session, const struct token_options *options)
{
    char token[TOKEN_SIZE];
    bool ok =
        token_make(token) &&
        add_token(session, (struct slice){.data = token, .len = strlen(token)}, PREFIX_SHOWN, options) &&
        show_token(token, options->label);

    explicit_bzero(token, sizeof token);
    return ok;
}

/* Reads a token from standard input: one line, of which a trailing line end is no part. */
static bool read_token(char token[BEARER_TOKEN_MAX + 3], struct slice *read)
{
    size_t len = fread(token, 1, BEARER_TOKEN_MAX + 2, stdin);

    while (len > 0 && (token[len - 1] == '\n' || token[len - 1] == '\r')) {
        len--;
    }
    *read = (struct slice){.data = token, .len = len};
    if (!bearer_token_is_valid(*read)) {
        return print_error("the token on standard input must be one line of visible ASCII characters");
    }
    if (len < IMPORTED_MIN) {
        return print_error("the token on standard input is too short to be safe: 16 characters at least");
    }
    return true;
}

static bool import(PGconn *session, const struct token_options *options)
{
    char buffer[BEARER_TOKEN_MAX + 3];
    struct slice token;
    bool ok = read_token(buffer, &token) && add_token(session, token, IMPORTED_SHOWN, options);

    explicit_bzero(buffer, sizeof buffer);
    if (ok) {
        fprintf(stderr, "The token \"%s\" is valid from now on.\n", options->label);
    }
    return ok;
}

static bool list(PGconn *session, const struct token_options *options)
{
    static const struct column columns[] = {
        {"id", COLUMN_NUMBER, 0},       {"label", COLUMN_TEXT, 0},      {"prefix", COLUMN_TEXT, 0},
        {"scopes", COLUMN_LIST, 0},     {"state", COLUMN_TEXT, 0},      {"created_at", COLUMN_TIME, 0},
        {"expires_at", COLUMN_TIME, 0}, {"revoked_at", COLUMN_TIME, 0}, {"last_used_at", COLUMN_TIME, 0}};
    PGresult *result = session_query(
        session,
        "SELECT token_id, label, prefix, array_to_string(scopes, ','),"
        " CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE "
        "'valid' END,"
        " to_char(created_at AT TIME ZONE 'UTC', f), to_char(expires_at AT TIME ZONE 'UTC', f),"
        " to_char(revoked_at AT TIME ZONE 'UTC', f), to_char(last_used_at AT TIME ZONE 'UTC', f)"
        " FROM intake.api_token, (VALUES ('YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) AS format (f) ORDER BY token_id",
        0, NULL);
    bool ok =
        result != NULL && table_print_result(result, PQntuples(result), columns, options->as_json, stdout);

    PQclear(result);
    return ok;
}

static bool check_revoke(const struct token_options *options)
{
    const char *id = options->id;

    if ((options->id == NULL) == (options->label == NULL)) {
        return print_error("token revoke takes a label, or --id with the id that token list shows");
    }
    if (id != NULL && (strspn(id, "0123456789") != strlen(id) || strlen(id) > 9 || *id == '\0')) {
        return print_error("--id must be a number that token list shows");
    }
    return true;
}

static bool revoke(PGconn *session, const struct token_options *options)
{
    const char *value = options->id != NULL ? options->id : options->label;
    PGresult *result;
    bool ok;

    result = session_query(session,
                           options->id != NULL
                               ? "UPDATE intake.api_token SET revoked_at = now() "
                                 "WHERE token_id = $1::integer AND revoked_at IS NULL RETURNING token_id"
                               : "UPDATE intake.api_token SET revoked_at = now() "
                                 "WHERE label = $1 AND revoked_at IS NULL RETURNING token_id",
                           1, &value);
    if (result == NULL) {
        return false;
    }
    ok = PQntuples(result) > 0 || print_error("there is no such token that is not revoked already");
    for (int row = 0; row < PQntuples(result); row++) {
        printf("revoked token %s\n", PQgetvalue(result, row, 0));
    }
    PQclear(result);
    return ok;
}

/* The newest token with that label that is valid, and what its successor takes from it. */
static bool find_predecessor(PGconn *session, const char *label, bool expiry_given, char scopes[64])
{
    PGresult *result = session_query(session,
                                     "SELECT scopes, expires_at IS NOT NULL FROM intake.api_token "
                                     "WHERE label = $1 AND " IS_LIVE " ORDER BY token_id DESC LIMIT 1",
                                     1, &label);
    bool ok =
        result != NULL && (PQntuples(result) == 1 || print_error("there is no valid token with this label"));

    if (ok && !expiry_given && *PQgetvalue(result, 0, 1) == 't') {
        ok = print_error("the present token expires, so say when the new one does: --expires WHEN");
    }
    if (ok) {
        snprintf(scopes, 64, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    return ok;
}

static bool shorten_predecessors(PGconn *session, const char *label, const char *until)
{
    const char *const values[] = {label, until};
    PGresult *result = session_query(session,
                                     "UPDATE intake.api_token SET expires_at = least(expires_at, now() + "
                                     "$2::bigint * interval '1 second') WHERE label = $1 AND " IS_LIVE,
                                     2, values);

    PQclear(result);
    return result != NULL;
}

static bool check_rotate(const struct token_options *options)
{
    char buffer[TIME_TEXT_MAX];
    const char *expires;
    int64_t grace_seconds;

    if (options->label == NULL) {
        return print_error("token rotate takes a label");
    }
    if (options->grace == NULL || !duration_parse(options->grace, &grace_seconds)) {
        return print_error("--grace must say how long the old token stays valid, like 24h or 0s");
    }
    return read_expiry(options->expires, buffer, &expires);
}

static bool rotate(PGconn *session, const struct token_options *options)
{
    char token[TOKEN_SIZE], scopes[64], grace[24], buffer[TIME_TEXT_MAX];
    const char *expires;
    int64_t grace_seconds;
    bool ok;

    if (!duration_parse(options->grace, &grace_seconds) || !read_expiry(options->expires, buffer, &expires) ||
        !token_make(token)) {
        return false;
    }
    snprintf(grace, sizeof grace, "%lld", (long long)grace_seconds);
    ok = begin(session) &&
         end(session, find_predecessor(session, options->label, options->expires != NULL, scopes) &&
                          shorten_predecessors(session, options->label, grace) &&
                          insert_token(session, (struct slice){.data = token, .len = strlen(token)},
                                       PREFIX_SHOWN, options->label, scopes, expires)) &&
         show_token(token, options->label);
    explicit_bzero(token, sizeof token);
    return ok;
}

/* The subcommands, and which options each takes (letters of read_options). */
static const struct subcommand {
    const char *name;
    bool (*check)(const struct token_options *options); /* before there is a session */
    bool (*run)(PGconn *session, const struct token_options *options);
    const char *options;
    bool takes_label; /* as an argument without a name */
} subcommands[] = {
    {"create", check_new, create, "lse", false},
    {"import", check_new, import, "lse", false},
    {"list", NULL, list, "j", false},
    {"revoke", check_revoke, revoke, "i", true},
    {"rotate", check_rotate, rotate, "ge", true},
};

static const struct subcommand *find_subcommand(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof subcommands / sizeof subcommands[0]; i++) {
        if (strcmp(name, subcommands[i].name) == 0) {
            return &subcommands[i];
        }
    }
    return NULL;
}

/* The first --scope takes the place of what holds without one, others are added. */
static bool add_scopes(char *scopes, size_t size, const char *more, bool *has_scopes)
{
    size_t used = *has_scopes ? strlen(scopes) : 0;
    int added = snprintf(scopes + used, size - used, "%s%s", *has_scopes ? "," : "", more);

    *has_scopes = true;
    return (size_t)added < size - used || print_error("--scope must be upsert, delete or upsert,delete");
}

static bool read_options(int argc, char **argv, const struct subcommand *subcommand,
                         struct token_options *options)
{
    static const struct option names[] = {{"label", required_argument, NULL, 'l'},
                                          {"scope", required_argument, NULL, 's'},
                                          {"expires", required_argument, NULL, 'e'},
                                          {"grace", required_argument, NULL, 'g'},
                                          {"id", required_argument, NULL, 'i'},
                                          {"json", no_argument, NULL, 'j'},
                                          {0}};
    bool has_scopes = false;
    int letter;

    *options = (struct token_options){.scopes = "upsert,delete"};
    while ((letter = options_next(argc, argv, names, "s")) != -1) {
        if (letter == '?') {
            return false;
        }
        if (strchr(subcommand->options, letter) == NULL) {
            fprintf(stderr, "incidentctl: token %s does not take that option; see incidentctl token --help\n",
                    subcommand->name);
            return false;
        }
        switch (letter) {
        case 'l':
            options->label = optarg;
            break;
        case 's':
            if (!add_scopes(options->scopes, sizeof options->scopes, optarg, &has_scopes)) {
                return false;
            }
            break;
        case 'e':
            options->expires = optarg;
            break;
        case 'g':
            options->grace = optarg;
            break;
        case 'i':
            options->id = optarg;
            break;
        default:
            options->as_json = true;
            break;
        }
    }
    if (subcommand->takes_label && optind < argc) {
        options->label = argv[optind++];
    }
    return options_end(argc, argv, 0);
}

static int refuse_subcommand(const char *name)
{
    struct suggestion best = {0};

    for (size_t i = 0; name != NULL && i < sizeof subcommands / sizeof subcommands[0]; i++) {
        suggest_consider(&best, name, subcommands[i].name);
    }
    if (best.known != NULL) {
        print_error("there is no command token %s; did you mean token %s?", name, best.known);
    } else {
        print_error("token takes one of create, import, list, revoke, rotate; see incidentctl token --help");
    }
    return EXIT_USAGE;
}

int command_token(int argc, char **argv)
{
    const struct subcommand *subcommand = find_subcommand(argc >= 2 ? argv[1] : NULL);
    static char name[32]; /* of the command, as messages have it */
    struct token_options options;
    PGconn *session;
    bool ok;

    if (subcommand == NULL) {
        return refuse_subcommand(argc >= 2 ? argv[1] : NULL);
    }
    snprintf(name, sizeof name, "token %s", subcommand->name);
    argv[1] = name;
    if (!read_options(argc - 1, argv + 1, subcommand, &options) ||
        (subcommand->check != NULL && !subcommand->check(&options))) {
        return EXIT_USAGE;
    }
    session = session_open();
    if (session == NULL) {
        return EXIT_FAILURE;
    }
    ok = subcommand->run(session, &options);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
