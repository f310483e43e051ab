/* JSON texts with the verdicts that the HTTP contract gives them, for any test that sends JSON. */
#ifndef INCIDENTS_TESTS_CASES_JSON_TEXTS_H
#define INCIDENTS_TESTS_CASES_JSON_TEXTS_H

#include <stddef.h>

/* A valid upsert body is JSON_TEXT_BEFORE, a text, JSON_TEXT_AFTER. Two levels are open around the text. */
#define JSON_TEXT_BEFORE "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"metadata\":{\"v\":"
#define JSON_TEXT_AFTER  "}}"

/* What the text is when it stands alone. */
enum text_verdict {
    TEXT_VALID,
    TEXT_INVALID,
};

/* What the upsert body is whose metadata holds the text. */
enum in_metadata_verdict {
    IN_METADATA_ACCEPTED,
    IN_METADATA_METADATA_INVALID,
    IN_METADATA_INVALID_JSON,
};

/* `text` may hold NUL bytes and bytes that are not UTF-8. `what` is unique in the table. */
struct json_text {
    const char *what;
    const char *text;
    size_t len;
    enum text_verdict verdict;
    enum in_metadata_verdict in_metadata;
};

extern const struct json_text json_texts[];
extern const size_t json_text_count;

#endif
