/* Labels in shared memory: a hash table with open addressing, whose rows are never freed.
 *
 * A row is claimed by one compare-and-swap. While it is being written others pass it over, and so a process
 * that is killed there stops nobody: its row is lost until the memory is. */
#include "base/label_table.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

enum state { FREE, CLAIMED, READY };

/* FNV-1a. */
static size_t hash(const char *text, size_t len)
{
    uint32_t value = 2166136261u;

    for (size_t i = 0; i < len; i++) {
        value = (value ^ (unsigned char)text[i]) * 16777619u;
    }
    return value;
}

static bool has_text(const struct label_row *row, const char *text, size_t len)
{
    return memcmp(row->text, text, len) == 0 && row->text[len] == '\0';
}

static bool claim(struct label_row *row, const char *text, size_t len)
{
    int is_free = FREE;

    if (!atomic_compare_exchange_strong(&row->state, &is_free, CLAIMED)) {
        return false;
    }
    memcpy(row->text, text, len);
    row->text[len] = '\0';
    atomic_store_explicit(&row->state, READY, memory_order_release);
    return true;
}

size_t label_table_find(struct label_table *table, const char *label)
{
    size_t len = utf8_cut(label, strlen(label), LABEL_TABLE_BYTES - 1), first = hash(label, len);

    for (size_t i = 0; i < LABEL_TABLE_ROWS; i++) {
        size_t number = (first + i) % LABEL_TABLE_ROWS;
        struct label_row *row = &table->rows[number];

        if (atomic_load_explicit(&row->state, memory_order_acquire) == FREE && claim(row, label, len)) {
            return number;
        }
        if (atomic_load_explicit(&row->state, memory_order_acquire) == READY && has_text(row, label, len)) {
            return number;
        }
    }
    return LABEL_TABLE_ROWS;
}

const char *label_table_text(const struct label_table *table, size_t row)
{
    const struct label_row *at = &table->rows[row];

    return atomic_load_explicit(&at->state, memory_order_acquire) == READY ? at->text : NULL;
}
