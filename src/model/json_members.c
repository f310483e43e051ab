/* The members of a JSON object, and the elements of an array, without a copy of either. */
#include "model/json.h"

static struct json_member *find_member(struct json_member *members, size_t count, struct slice key)
{
    for (size_t i = 0; i < count; i++) {
        if (json_string_equals(key, members[i].name)) {
            return &members[i];
        }
    }
    return NULL;
}

/* Adds a token to the value that a member or an element is made of. */
static void extend_value(struct json_member *member, const struct json_token *token)
{
    member->has_nul = member->has_nul || token->has_nul;
    if (token->depth != 1) {
        return;
    }
    if (member->type == JSON_INVALID) {
        member->type = token->event;
        member->value.data = token->text.data;
    }
    member->value.len = (size_t)(token->text.data + token->text.len - member->value.data);
}

bool json_next_element(struct json_reader *reader, struct json_member *element)
{
    struct json_token token;

    *element = (struct json_member){0};
    while (json_next(reader, &token) != JSON_END_OF_TEXT && token.event != JSON_INVALID) {
        if (token.depth == 0) { /* the array's own begin or end */
            continue;
        }
        extend_value(element, &token);
        if (token.depth == 1 && token.event != JSON_OBJECT_BEGIN && token.event != JSON_ARRAY_BEGIN) {
            return true;
        }
    }
    return false;
}

bool json_find_members(struct slice text, struct json_member *members, size_t count, bool *stray_nul,
                       struct error *error)
{
    struct json_reader reader;
    struct json_token token;
    struct json_member *member = NULL;
    enum json_event outermost = JSON_INVALID;

    *stray_nul = false;
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct json_member){.name = members[i].name};
    }
    json_reader_init(&reader, text);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT) {
        if (token.event == JSON_INVALID) {
            return error_set(error, ERROR_INVALID_JSON, "the body is not valid JSON: %s (byte %zu)",
                             reader.fault, reader.at);
        }
        if (outermost == JSON_INVALID) {
            outermost = token.event;
        }
        if (token.depth == 1 && token.event == JSON_KEY) {
            member = find_member(members, count, token.text);
            if (member != NULL) { /* a repeated key: the last one counts */
                *member = (struct json_member){.name = member->name};
            }
            *stray_nul = *stray_nul || token.has_nul;
            continue;
        }
        if (member == NULL) {
            *stray_nul = *stray_nul || token.has_nul;
            continue;
        }
        extend_value(member, &token);
    }
    if (outermost != JSON_OBJECT_BEGIN) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the body must be a JSON object");
    }
    return true;
}
