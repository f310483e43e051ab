/* The names of a CSV file's columns. */
#include "incidentctl/import/columns.h"

#include <ctype.h>

static bool is_passed_over(char byte)
{
    return byte == ' ' || byte == '_' || byte == '-' || byte == '\t';
}

bool column_is(struct slice cell, const char *name)
{
    size_t i = 0;

    for (;;) {
        while (i < cell.len && is_passed_over(cell.data[i])) {
            i++;
        }
        while (is_passed_over(*name)) {
            name++;
        }
        if (i == cell.len || *name == '\0') {
            return i == cell.len && *name == '\0';
        }
        if (tolower((unsigned char)cell.data[i++]) != tolower((unsigned char)*name++)) {
            return false;
        }
    }
}

size_t column_find(const struct csv_row *header, const char *name)
{
    size_t i = 0;

    while (i < header->count && !column_is(header->cells[i].text, name)) {
        i++;
    }
    return i;
}

static bool is_word(unsigned char byte)
{
    return isalnum(byte) || byte >= 0x80;
}

/* A word begins behind what is none, and where upper case follows lower case or a digit, or begins a word in
 * lower case: createdAt, tinyID, HTMLUrl. */
static bool begins_word(struct slice cell, size_t i)
{
    unsigned char byte = (unsigned char)cell.data[i];
    unsigned char before = i > 0 ? (unsigned char)cell.data[i - 1] : ' ';
    unsigned char behind = i + 1 < cell.len ? (unsigned char)cell.data[i + 1] : ' ';

    return !is_word(before) ||
           (isupper(byte) && (islower(before) || isdigit(before) || (isupper(before) && islower(behind))));
}

void column_append_key(struct buffer *key, struct slice cell)
{
    size_t begin = key->len;

    for (size_t i = 0; i < cell.len; i++) {
        unsigned char byte = (unsigned char)cell.data[i];
        char lower = (char)tolower(byte);

        if (!is_word(byte)) {
            continue;
        }
        if (begins_word(cell, i) && key->len > begin) {
            buffer_append(key, "_", 1);
        }
        buffer_append(key, &lower, 1);
    }
}
