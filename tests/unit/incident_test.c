/* Reading and judging the arguments: what the contract's table says, without a database. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/incident.h"
#include "model/json.h"

#define BASE(rest) "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\"" rest "}"

static bool read_body(const char *body, enum method_rules rules, struct incident *incident,
                      struct error *error)
{
    *error = (struct error){.code = ERROR_NONE};
    return incident_read((struct slice){.data = body, .len = strlen(body)}, rules, incident, error);
}

/* How each method reads its body. */
static bool read_as(size_t method, const char *body, struct incident *incident, struct error *error)
{
    if (method == 2) {
        *error = (struct error){.code = ERROR_NONE};
        return incident_read_reference((struct slice){.data = body, .len = strlen(body)}, incident, error);
    }
    return read_body(body, method == 0 ? RULES_UPSERT : RULES_SYNC, incident, error);
}

/* The links of a body's services as JSON text, which must be readable. */
static void check_links(const char *body, enum method_rules rules, enum presence presence, const char *links)
{
    struct incident incident;
    struct error error;

    if (!read_body(body, rules, &incident, &error)) {
        fail_msg("%s: %s", body, error.message);
    }
    assert_int_equal(incident.services.presence, presence);
    if (links != NULL) {
        assert_string_equal(json_object_to_json_string_ext(incident.services.links, JSON_C_TO_STRING_PLAIN),
                            links);
    }
    incident_free(&incident);
}

static void services_become_links_and_a_repeated_one_keeps_its_place(void **state)
{
    check_links(BASE(""), RULES_UPSERT, PRESENCE_ABSENT, NULL);
    check_links(BASE(",\"services\":null"), RULES_UPSERT, PRESENCE_CLEARED, NULL);
    check_links(BASE(",\"services\":[ ]"), RULES_UPSERT, PRESENCE_CLEARED, "[]");
    check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"a\"}]"),
                RULES_UPSERT, PRESENCE_GIVEN, "[[\"b\",\"B\"],[\"a\",null]]");
    check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"a\"},{"
                     "\"identifier\":\"b\","
                     "\"name\":\"C\"}]"),
                RULES_UPSERT, PRESENCE_GIVEN, "[[\"b\",\"C\"],[\"a\",null]]");
    check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"b\"}]"),
                RULES_UPSERT, PRESENCE_GIVEN, "[[\"b\",\"B\"]]");
    check_links(
        BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"b\",\"name\":null}]"),
        RULES_UPSERT, PRESENCE_GIVEN, "[[\"b\",null]]");
}

static void services_are_objects_or_identifiers_in_upsert_and_in_sync(void **state)
{
    for (enum method_rules rules = RULES_UPSERT; rules <= RULES_SYNC; rules++) {
        check_links(BASE(",\"services\":[]"), rules, PRESENCE_CLEARED, "[]");
        check_links(BASE(",\"services\":[\"a\",\"b\",\"a\"]"), rules, PRESENCE_GIVEN,
                    "[[\"a\",null],[\"b\",null]]");
        check_links(BASE(",\"services\":[\"b\",{\"identifier\":\"a\",\"x\":[1,{\"name\":2}],\"name\":\"A\"},{"
                         "\"identifier\":\"b\",\"name\":\"B\"}]"),
                    rules, PRESENCE_GIVEN, "[[\"b\",\"B\"],[\"a\",\"A\"]]");
        check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},\"b\"]"), rules,
                    PRESENCE_GIVEN, "[[\"b\",\"B\"]]");
    }
}

static void an_element_of_services_that_is_no_good_is_named(void **state)
{
    static const struct {
        const char *element;
        const char *sentence;
    } cases[] = {
        {"1", "services[1] must be an object or a string"},
        {"null", "services[1] must be an object or a string"},
        {"[\"a\"]", "services[1] must be an object or a string"},
        {"\" \"", "services[1] must be a non-empty string"},
        {"{}", "services[1].identifier must be a non-empty string"},
        {"{\"identifier\":5}", "services[1].identifier must be a non-empty string"},
        {"{\"identifier\":\"\"}", "services[1].identifier must be a non-empty string"},
        {"{\"identifier\":\"a\",\"name\":5}", "services[1].name must be a string or null"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 2; i++) {
        char body[256];
        struct incident incident;
        struct error error;

        snprintf(body, sizeof body,
                 "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"services\":[\"s\",%s]}",
                 cases[i / 2].element);
        assert_false(read_as(i % 2, body, &incident, &error));
        assert_int_equal(error.code, ERROR_INVALID_ARGUMENTS);
        assert_string_equal(error.message, cases[i / 2].sentence);
        incident_free(&incident);
    }
}

/* Objects and strings, in upsert and in sync. */
static void a_thousand_services_are_read_and_one_more_is_refused(void **state)
{
    for (size_t i = 0; i < 8; i++) {
        size_t count = 1000 + i / 4;
        char body[64 * 1024];
        size_t len = (size_t)snprintf(body, sizeof body,
                                      "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"services\":[");
        struct incident incident;
        struct error error;
        bool ok;

        for (size_t n = 0; n < count; n++) {
            len += (size_t)snprintf(body + len, sizeof body - len,
                                    i % 2 == 0 ? "%s{\"identifier\":\"s%zu\"}" : "%s\"s%zu\"",
                                    n == 0 ? "" : ",", n);
        }
        snprintf(body + len, sizeof body - len, "]}");
        ok = read_as(i / 2 % 2, body, &incident, &error);
        assert_int_equal(ok, count == 1000);
        assert_true(ok ||
                    (error.code == ERROR_INVALID_ARGUMENTS && strstr(error.message, "services") != NULL));
        incident_free(&incident);
    }
}

static void a_blank_identifier_is_refused_in_every_white_space(void **state)
{
    static const char *const blanks[] = {"",        " ",        "\\t\\n\\r",
                                         "\\u0085", "\\u00a0",  "\\u2003\\u2028",
                                         "\\u3000", "\xC2\xA0", "\xE2\x80\x89 \xE3\x80\x80"};

    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
        char body[128];
        struct incident incident;
        struct error error;

        snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", blanks[i]);
        if (read_body(body, RULES_UPSERT, &incident, &error) || error.code != ERROR_INVALID_ARGUMENTS) {
            fail_msg("blank %zu was taken", i);
        }
        incident_free(&incident);
    }
}

static void every_method_takes_a_string_or_an_integer_digit_by_digit(void **state)
{
    static const struct {
        const char *json;
        const char *id; /* NULL: refused */
    } cases[] = {{"\"a\"", "a"},
                 {"0", "0"},
                 {"-0", "0"},
                 {"-5", "-5"},
                 {"123", "123"},
                 {"\"0123\"", "0123"},
                 {"12345678901234567890123", "12345678901234567890123"},
                 {"1.0", NULL},
                 {"1e3", NULL},
                 {"1E3", NULL},
                 {"-0.0", NULL},
                 {"true", NULL},
                 {"null", NULL},
                 {"[]", NULL},
                 {"{}", NULL},
                 {"\" \"", NULL},
                 {"\"a\\u0000\"", NULL}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 3; i++) {
        const char *json = cases[i / 3].json, *id = cases[i / 3].id;
        char body[128];
        struct incident incident;
        struct error error;
        bool ok;

        snprintf(body, sizeof body, "{\"reference_id\":%s,\"started_at\":\"2024-01-01\",\"services\":[]}",
                 json);
        ok = read_as(i % 3, body, &incident, &error);
        if (ok != (id != NULL) || (ok && strcmp(incident.reference_id, id) != 0) ||
            (!ok &&
             (error.code != ERROR_INVALID_ARGUMENTS || strstr(error.message, "reference_id") == NULL))) {
            fail_msg("method %zu, reference_id %s: %s", i % 3, json, error.message);
        }
        incident_free(&incident);
    }
}

static void every_method_takes_an_integer_of_1024_digits_and_none_of_more(void **state)
{
    for (size_t i = 0; i < 6; i++) {
        int digits = IDENTIFIER_BYTES_MAX + (int)(i / 3);
        char body[IDENTIFIER_BYTES_MAX + 128];
        struct incident incident;
        struct error error;
        bool ok;

        snprintf(body, sizeof body, "{\"reference_id\":1%0*d,\"started_at\":\"2024-01-01\",\"services\":[]}",
                 digits - 1, 0);
        ok = read_as(i % 3, body, &incident, &error);
        assert_int_equal(ok, digits == IDENTIFIER_BYTES_MAX);
        assert_true(ok || strstr(error.message, "at most 1024 bytes") != NULL);
        incident_free(&incident);
    }
}

/* Both spellings of each string that a body holds must be one string; the texts that are kept raw too. */
struct spellings {
    struct buffer meant; /* the characters themselves */
    struct buffer utf8;  /* JSON strings */
    struct buffer escaped;
};

static void add_utf8(struct buffer *out, unsigned value)
{
    unsigned char bytes[4];
    size_t len = 0;

    if (value < 0x80) {
        bytes[len++] = (unsigned char)value;
    } else if (value < 0x800) {
        bytes[len++] = (unsigned char)(0xC0 + value / 64);
    } else if (value < 0x10000) {
        bytes[len++] = (unsigned char)(0xE0 + value / 4096);
        bytes[len++] = (unsigned char)(0x80 + value / 64 % 64);
    } else {
        bytes[len++] = (unsigned char)(0xF0 + value / 262144);
        bytes[len++] = (unsigned char)(0x80 + value / 4096 % 64);
        bytes[len++] = (unsigned char)(0x80 + value / 64 % 64);
    }
    if (value >= 0x80) {
        bytes[len++] = (unsigned char)(0x80 + value % 64);
    }
    buffer_append(out, bytes, len);
}

static void add_escape(struct buffer *out, unsigned value)
{
    if (value >= 0x10000) {
        buffer_append_format(out, "\\u%04X\\u%04x", 0xD800 + (value - 0x10000) / 1024,
                             0xDC00 + (value - 0x10000) % 1024);
    } else if (value % 2 == 0) {
        buffer_append_format(out, "\\u%04x", value);
    } else {
        buffer_append_format(out, "\\u%04X", value);
    }
}

static void spell(struct spellings *spellings, unsigned first, unsigned last)
{
    buffer_reset(&spellings->meant, SIZE_MAX);
    buffer_reset(&spellings->utf8, SIZE_MAX);
    buffer_reset(&spellings->escaped, SIZE_MAX);
    buffer_append_text(&spellings->escaped, "\"");
    for (unsigned value = first; value <= last; value++) {
        add_utf8(&spellings->meant, value);
        add_escape(&spellings->escaped, value);
    }
    buffer_append_text(&spellings->escaped, "\"");
    buffer_append_json_string(&spellings->utf8, spellings->meant.data, spellings->meant.len);
}

static void expect_raw_text(const struct text_argument *argument, const struct buffer *meant)
{
    char *decoded = malloc(argument->json.len);

    assert_non_null(decoded);
    assert_int_equal(json_string_decode(argument->json, decoded), meant->len);
    assert_memory_equal(decoded, meant->data, meant->len);
    free(decoded);
}

static void expect_spelt(struct json_object *string, const struct buffer *meant)
{
    assert_int_equal(json_object_get_string_len(string), meant->len);
    assert_memory_equal(json_object_get_string(string), meant->data, meant->len);
}

/* `here` is how the body spells a string, `there` how it spells the same identifier once more. */
static void expect_the_same(const char *here, const char *there, const struct buffer *meant)
{
    struct incident incident;
    struct error error;
    struct json_object *link;
    struct buffer body;

    buffer_init(&body, SIZE_MAX);
    buffer_append_format(&body,
                         "{\"reference_id\":%s,\"started_at\":\"2024-01-01\",\"name\":%s,\"services\":[%s,"
                         "{\"identifier\":%s,\"name\":%s}]}",
                         here, here, there, here, here);
    assert_false(body.failed);
    if (!read_body(body.data, RULES_UPSERT, &incident, &error)) {
        fail_msg("%s: %s", body.data, error.message);
    }
    assert_int_equal(strlen(incident.reference_id), meant->len);
    assert_memory_equal(incident.reference_id, meant->data, meant->len);
    expect_raw_text(&incident.name, meant);
    assert_int_equal(json_object_array_length(incident.services.links), 1);
    link = json_object_array_get_idx(incident.services.links, 0);
    expect_spelt(json_object_array_get_idx(link, 0), meant);
    expect_spelt(json_object_array_get_idx(link, 1), meant);
    incident_free(&incident);
    buffer_free(&body);
}

/* All scalar values but U+0000, which is refused: by the hundred, for an identifier may have 1,024 bytes. */
static void every_scalar_value_means_the_same_in_utf8_and_as_an_escape(void **state)
{
    struct spellings spellings;
    size_t walked = 0;

    buffer_init(&spellings.meant, SIZE_MAX);
    buffer_init(&spellings.utf8, SIZE_MAX);
    buffer_init(&spellings.escaped, SIZE_MAX);
    for (unsigned first = 1, last; first <= 0x10FFFF; first = last + 1) {
        last = first + 99;
        if (first == 0xD800) {
            first = 0xE000;
            last = first + 99;
        }
        last = first < 0xD800 && last >= 0xD800 ? 0xD7FF : last > 0x10FFFF ? 0x10FFFF : last;
        spell(&spellings, first, last);
        expect_the_same(spellings.utf8.data, spellings.escaped.data, &spellings.meant);
        expect_the_same(spellings.escaped.data, spellings.utf8.data, &spellings.meant);
        walked += last - first + 1;
    }
    assert_int_equal(walked, 1112064 - 1);
    buffer_free(&spellings.meant);
    buffer_free(&spellings.utf8);
    buffer_free(&spellings.escaped);
}

/* The presence of resolved_at, and of started_at, which knows no such time. */
static void gos_zero_time_means_open_in_any_spelling(void **state)
{
    static const struct {
        const char *text;
        enum presence presence;
    } cases[] = {{"0001-01-01T00:00:00Z", PRESENCE_CLEARED},
                 {"0001-01-01", PRESENCE_CLEARED},
                 {"0001-01-01 00:00", PRESENCE_CLEARED},
                 {"00010101T000000.000Z", PRESENCE_CLEARED},
                 {"0001-001T00:00:00,0+00:00", PRESENCE_CLEARED},
                 {"0001-W01-1T00Z", PRESENCE_CLEARED},
                 {"0001W011", PRESENCE_CLEARED},
                 {"0001-01-01T05:30:00+05:30", PRESENCE_CLEARED},
                 {"0001-01-01T14:00:00+1400", PRESENCE_CLEARED},
                 {"\\u0030001-01-01T00:00:00Z", PRESENCE_CLEARED},
                 {"0001-01-01T00:00:00.000001Z", PRESENCE_GIVEN},
                 {"0001-01-01T00:00:01Z", PRESENCE_GIVEN},
                 {"0001-01-01T00:00:00-05:00", PRESENCE_GIVEN},
                 {"1970-01-01T00:00:00Z", PRESENCE_GIVEN}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        struct incident incident;
        struct error error;

        snprintf(body, sizeof body, "{\"reference_id\":\"r\",\"started_at\":\"%s\",\"resolved_at\":\"%s\"}",
                 cases[i].text, cases[i].text);
        if (!read_body(body, RULES_UPSERT, &incident, &error) ||
            incident.started_at.presence != PRESENCE_GIVEN ||
            incident.resolved_at.presence != cases[i].presence) {
            fail_msg("%s: %s", cases[i].text, error.message);
        }
        incident_free(&incident);
    }
}

#define AN_ISO_TIMESTAMP "must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z"

#define HALF_OF_DAY      ", not a time of a 12-hour clock (11 PM is 23:00)"
#define BEYOND_THE_YEARS "must lie in the years 0001 to 9999, in UTC"

static void the_sentence_says_what_was_found_in_place_of_a_timestamp(void **state)
{
    static const struct {
        const char *json;
        const char *sentence; /* behind the argument's name */
    } cases[] = {
        {"1704108153", AN_ISO_TIMESTAMP ", not an epoch number"},
        {"1.5", AN_ISO_TIMESTAMP ", not an epoch number"},
        {"\"1420452191104\"", AN_ISO_TIMESTAMP ", not an epoch number"},
        {"\"1704108153.25\"", AN_ISO_TIMESTAMP ", not an epoch number"},
        {"\"20240101112233\"", AN_ISO_TIMESTAMP},
        {"\"2023-07-25 13:34:49 UTC\"", AN_ISO_TIMESTAMP ", not a time with the name of a zone (UTC is Z)"},
        {"\"2024-02-30 13:34:49 GMT\"", AN_ISO_TIMESTAMP ", not a time with the name of a zone (UTC is Z)"},
        {"\"11:22:33 PM\"", AN_ISO_TIMESTAMP HALF_OF_DAY},
        {"\"2026-01-01 11:22 PM\"", AN_ISO_TIMESTAMP HALF_OF_DAY},
        {"\"2026-01-01T11:22:33am\"", AN_ISO_TIMESTAMP HALF_OF_DAY},
        {"\"Jan 2 2024 11:22 p.m.\"", AN_ISO_TIMESTAMP HALF_OF_DAY},
        {"\"2026-01-01 11:22:33\\u202fPM\"", AN_ISO_TIMESTAMP HALF_OF_DAY},
        {"\"PM\"", AN_ISO_TIMESTAMP},
        {"\" PM\"", AN_ISO_TIMESTAMP ", not a text that begins with a blank"},
        {"\"2026-01-01 spam\"", AN_ISO_TIMESTAMP ", not a time with the name of a zone (UTC is Z)"},
        {"\"9999-12-31T24:00\"", BEYOND_THE_YEARS},
        {"\"9999-W52-7\"", BEYOND_THE_YEARS},
        {"\"0001-01-01T00:00+01:00\"", BEYOND_THE_YEARS},
        {"\"Tue, 02 Jan 2024 11:22:33 GMT\"", AN_ISO_TIMESTAMP ", not an RFC 2822 date"},
        {"\"2 Jan 2024 11:22:33 +0000\"", AN_ISO_TIMESTAMP ", not an RFC 2822 date"},
        {"\"02 Jan 2024 11:22:33 +0000\"", AN_ISO_TIMESTAMP ", not an RFC 2822 date"},
        {"\"01/02/2024\"", AN_ISO_TIMESTAMP ", not a US date"},
        {"\"1/2/24 3:04 PM\"", AN_ISO_TIMESTAMP ", not a US date"},
        {"\"1/20/2024\"", AN_ISO_TIMESTAMP ", not a US date"},
        {"\"10/2/2024\"", AN_ISO_TIMESTAMP ", not a US date"},
        {"\" 2024-01-01\"", AN_ISO_TIMESTAMP ", not a text that begins with a blank"},
        {"\"\"", AN_ISO_TIMESTAMP ", not an empty string"},
        {"true", AN_ISO_TIMESTAMP ", not a boolean"},
        {"false", AN_ISO_TIMESTAMP ", not a boolean"},
        {"{\"a\":1}", AN_ISO_TIMESTAMP ", not an object"},
        {"[\"2024-01-01\"]", AN_ISO_TIMESTAMP ", not an array"},
        {"\"soon\"", AN_ISO_TIMESTAMP},
        {"\"2024-01\"", AN_ISO_TIMESTAMP},
        {"\"2024-01-01T24:00:01\"", AN_ISO_TIMESTAMP},
        {"\"2024-01-01T11:22:33+25:00\"", AN_ISO_TIMESTAMP},
        {"\"2024-02-30\"", "names a date that does not exist"},
        {"\"2024-02-30T11:22:33.169+02:00\"", "names a date that does not exist"},
        {"\"20230229T112233Z\"", "names a date that does not exist"},
        {"\"2024-13-01\"", "names a date that does not exist"},
        {"\"2024-00-10\"", "names a date that does not exist"},
        {"\"2023-366\"", "names a date that does not exist"},
        {"\"2023000\"", "names a date that does not exist"},
        {"\"2024-W53-1\"", "names a date that does not exist"},
        {"\"2024W018\"", "names a date that does not exist"},
        {"\"\\u0032024-02-30\"", "names a date that does not exist"},
        {"\"2024-02-30T25:00:00\"", AN_ISO_TIMESTAMP},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 2; i++) {
        const char *name = i % 2 == 0 ? "started_at" : "resolved_at", *json = cases[i / 2].json;
        char body[256], sentence[256];
        struct incident incident;
        struct error error;

        snprintf(body, sizeof body, "{\"reference_id\":\"r\",%s\"%s\":%s}",
                 i % 2 == 0 ? "" : "\"started_at\":\"2024-01-01\",", name, json);
        snprintf(sentence, sizeof sentence, "%s %s", name, cases[i / 2].sentence);
        assert_false(read_body(body, RULES_UPSERT, &incident, &error));
        if (error.code != ERROR_INVALID_TIMESTAMP || strcmp(error.message, sentence) != 0) {
            fail_msg("%s: %s", json, error.message);
        }
        incident_free(&incident);
    }
}

/* A fraction may be of any length. */
static void a_long_text_is_no_timestamp_either(void **state)
{
    char body[4096];
    struct incident incident;
    struct error error;

    snprintf(body, sizeof body, "{\"reference_id\":\"r\",\"started_at\":\"2024-02-30T00:00:00.%02000dZ\"}",
             0);
    assert_false(read_body(body, RULES_UPSERT, &incident, &error));
    assert_int_equal(error.code, ERROR_INVALID_TIMESTAMP);
    assert_string_equal(error.message, "started_at " AN_ISO_TIMESTAMP);
    incident_free(&incident);
}

#define X16 "xxxxxxxxxxxxxxxx"
#define X63 X16 X16 X16 "xxxxxxxxxxxxxxx"

static void the_sentence_shows_the_metadata_key_that_is_refused(void **state)
{
    static const struct {
        const char *key;   /* in the body */
        const char *shown; /* in the sentence */
    } cases[] = {
        {"a.b", "a.b"},
        {"", ""},
        {"\xC3\xA9", "\xC3\xA9"},
        {"\\u00e9\\ud876\\udc00", "\xC3\xA9\xF0\xAD\xA0\x80"},
        {"\\u0001\\u001f\\n\\t\\u007f\x7f", "\\u0001\\u001f\\u000a\\u0009\\u007f\\u007f"},
        {"\\u0080\xC2\x9B\\u00a0", "\\u0080\\u009b\xC2\xA0"},
        {"\\u200d\\u200e\\u200f\\u2010", "\u200D\\u200e\\u200f\u2010"},
        {"\u2027\u2028\u2029", "\u2027\\u2028\\u2029"},
        {"\u202A\u202B\u202C\u202D\u202E\u202F", "\\u202a\\u202b\\u202c\\u202d\\u202e\u202F"},
        {"\u2065\u2066\u2067\u2068\u2069\u206A", "\u2065\\u2066\\u2067\\u2068\\u2069\u206A"},
        {"\u061B\u061C\u061D", "\u061B\\u061c\u061D"},
        {"\U0001202E", "\U0001202E"},
        {"\\\\\\\"", "\\\""},
        {X63 ".", X63 "."},
        {X63 ".x", X63 "...."},
        {X63 "\xC3\xA9", X63 "..."},
        {X63 "\\u0001", X63 "\\u0001"},
        {X63 "x\\u0001", X63 "x..."},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[512], sentence[512];
        struct incident incident;
        struct error error;

        snprintf(
            body, sizeof body,
            "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"metadata\":{\"good\":[{\"%s\":1}]}}",
            cases[i].key);
        snprintf(sentence, sizeof sentence,
                 "metadata keys must consist of letters, digits, underscores and hyphens, unlike \"%s\"",
                 cases[i].shown);
        assert_false(read_body(body, RULES_UPSERT, &incident, &error));
        assert_int_equal(error.code, ERROR_METADATA_INVALID);
        assert_string_equal(error.message, sentence);
        incident_free(&incident);
    }
}

/* The longest sentence that there is. */
static void a_key_of_control_characters_is_shown_in_full(void **state)
{
    struct incident incident;
    struct buffer body;
    struct error error;

    buffer_init(&body, SIZE_MAX);
    buffer_append_text(&body, "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"metadata\":{\"");
    for (size_t i = 0; i < 65; i++) {
        buffer_append_text(&body, "\\u0001");
    }
    buffer_append_text(&body, "\":1}}");
    assert_false(read_body(body.data, RULES_UPSERT, &incident, &error));
    assert_int_equal(error.code, ERROR_METADATA_INVALID);
    assert_string_equal(error.message + strlen(error.message) - 16, "\\u0001\\u0001...\"");
    incident_free(&incident);
    buffer_free(&body);
}

/* One row for each rule that a body can break, in upsert, sync or both. */
static void each_rule_has_its_code_and_its_sentence(void **state)
{
    static const struct {
        const char *body;
        size_t methods; /* 2: upsert and sync, 1: sync alone */
        enum error_code code;
        const char *sentence;
    } cases[] = {
        {"{\"started_at\":\"2024-01-01\"}", 2, ERROR_INVALID_ARGUMENTS, "reference_id is required"},
        {"{\"reference_id\":null}", 2, ERROR_INVALID_ARGUMENTS, "reference_id is required"},
        {"{\"reference_id\":\"r\"}", 2, ERROR_INVALID_ARGUMENTS, "started_at is required"},
        {"{\"reference_id\":\"r\",\"started_at\":null}", 2, ERROR_INVALID_ARGUMENTS,
         "started_at is required"},
        {BASE(",\"name\":1"), 2, ERROR_INVALID_ARGUMENTS, "name must be a string or null"},
        {BASE(",\"priority\":[]"), 2, ERROR_INVALID_ARGUMENTS, "priority must be a string or null"},
        {BASE(",\"source_url\":{}"), 2, ERROR_INVALID_ARGUMENTS, "source_url must be a string or null"},
        {BASE(",\"name\":\"\\u0000\""), 2, ERROR_INVALID_ARGUMENTS, "name must not contain \\u0000"},
        {BASE(",\"x\":\"\\u0000\""), 2, ERROR_INVALID_ARGUMENTS, "the body must not contain \\u0000"},
        {BASE(",\"services\":[\"\\u0000\"]"), 2, ERROR_INVALID_ARGUMENTS,
         "services must not contain \\u0000"},
        {BASE(",\"services\":[],\"metadata\":{\"a\":\"\\u0000\"}"), 2, ERROR_METADATA_INVALID,
         "metadata must not contain \\u0000"},
        {BASE(",\"services\":[],\"metadata\":[1]"), 2, ERROR_METADATA_INVALID, "metadata must be an object"},
        {BASE(",\"services\":[],\"metadata\":{\"a\":1e400}"), 2, ERROR_METADATA_INVALID,
         "metadata holds a number that is out of range"},
        {BASE(""), 1, ERROR_INVALID_ARGUMENTS, "services is required"},
        {BASE(",\"services\":null"), 1, ERROR_INVALID_ARGUMENTS, "services is required"},
        {BASE(",\"services\":\"a\""), 1, ERROR_INVALID_ARGUMENTS, "services must be an array"},
        {"[]", 2, ERROR_INVALID_ARGUMENTS, "the body must be a JSON object"},
        {"{\"reference_id\":\"\\ud800\"}", 2, ERROR_INVALID_JSON,
         "the body is not valid JSON: unpaired surrogate escape (byte 23)"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 2; i++) {
        struct incident incident;
        struct error error;

        if (i % 2 == 1 || cases[i / 2].methods == 2) {
            assert_false(read_as(i % 2, cases[i / 2].body, &incident, &error));
            if (error.code != cases[i / 2].code || strcmp(error.message, cases[i / 2].sentence) != 0) {
                fail_msg("%s: %s", cases[i / 2].body, error.message);
            }
            incident_free(&incident);
        }
    }
}

static void a_service_may_have_an_identifier_of_1024_bytes_and_a_name_of_any_length(void **state)
{
    for (size_t i = 0; i < 4; i++) {
        int excess = (int)(i / 2);
        struct buffer body;
        struct incident incident;
        struct error error;
        bool ok;

        buffer_init(&body, SIZE_MAX);
        buffer_append_text(&body,
                           "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"services\":[\"s\",");
        if (i % 2 == 0) {
            buffer_append_format(&body, "{\"name\":\"%0100000d\",\"identifier\":", 0);
        }
        buffer_append_format(&body, "\"%0*d\"%s]}", IDENTIFIER_BYTES_MAX + excess, 0, i % 2 == 0 ? "}" : "");
        ok = read_body(body.data, RULES_UPSERT, &incident, &error);
        assert_int_equal(ok, excess == 0);
        if (!ok) {
            assert_string_equal(error.message, i % 2 == 0
                                                   ? "services[1].identifier must be at most 1024 bytes long"
                                                   : "services[1] must be at most 1024 bytes long");
        }
        incident_free(&incident);
        buffer_free(&body);
    }
}

static void presence_tells_absent_null_and_a_value_apart(void **state)
{
    static const struct {
        const char *value; /* NULL: absent */
        enum presence text;
        enum presence metadata;
    } cases[] = {{NULL, PRESENCE_ABSENT, PRESENCE_ABSENT}, {"null", PRESENCE_CLEARED, PRESENCE_CLEARED}};
    struct incident incident;
    struct error error;

    for (size_t i = 0; i < 2; i++) {
        char body[256];
        const char *value = cases[i].value;

        snprintf(body, sizeof body, "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\"%s%s%s%s}",
                 value == NULL ? "" : ",\"name\":", value == NULL ? "" : value,
                 value == NULL ? "" : ",\"metadata\":", value == NULL ? "" : value);
        assert_true(read_body(body, RULES_UPSERT, &incident, &error));
        assert_int_equal(incident.name.presence, cases[i].text);
        assert_int_equal(incident.metadata.presence, cases[i].metadata);
        incident_free(&incident);
    }
    assert_true(read_body(BASE(",\"name\":\"\",\"metadata\":{\"a\":1}"), RULES_UPSERT, &incident, &error));
    assert_int_equal(incident.name.presence, PRESENCE_GIVEN);
    assert_int_equal(incident.metadata.json.len, strlen("{\"a\":1}"));
    incident_free(&incident);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_become_links_and_a_repeated_one_keeps_its_place),
        cmocka_unit_test(services_are_objects_or_identifiers_in_upsert_and_in_sync),
        cmocka_unit_test(an_element_of_services_that_is_no_good_is_named),
        cmocka_unit_test(a_thousand_services_are_read_and_one_more_is_refused),
        cmocka_unit_test(a_blank_identifier_is_refused_in_every_white_space),
        cmocka_unit_test(every_method_takes_a_string_or_an_integer_digit_by_digit),
        cmocka_unit_test(every_method_takes_an_integer_of_1024_digits_and_none_of_more),
        cmocka_unit_test(every_scalar_value_means_the_same_in_utf8_and_as_an_escape),
        cmocka_unit_test(gos_zero_time_means_open_in_any_spelling),
        cmocka_unit_test(the_sentence_says_what_was_found_in_place_of_a_timestamp),
        cmocka_unit_test(a_long_text_is_no_timestamp_either),
        cmocka_unit_test(the_sentence_shows_the_metadata_key_that_is_refused),
        cmocka_unit_test(a_key_of_control_characters_is_shown_in_full),
        cmocka_unit_test(each_rule_has_its_code_and_its_sentence),
        cmocka_unit_test(a_service_may_have_an_identifier_of_1024_bytes_and_a_name_of_any_length),
        cmocka_unit_test(presence_tells_absent_null_and_a_value_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
