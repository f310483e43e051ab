/* "Did you mean …?": the known name that a misspelt one is nearest to. */
#include "base/suggest.h"

#include <string.h>

static char lower(char letter)
{
    return (char)(letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter);
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t smaller = a < b ? a : b;

    return smaller < c ? smaller : c;
}

size_t suggest_distance(const char *a, const char *b)
{
    /* The table of the beginnings of a against those of b. */
    size_t table[SUGGEST_NAME_MAX + 1][SUGGEST_NAME_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > SUGGEST_NAME_MAX || b_len > SUGGEST_NAME_MAX) {
        return a_len + b_len;
    }
    for (size_t i = 0; i <= a_len; i++) {
        for (size_t j = 0; j <= b_len; j++) {
            if (i == 0 || j == 0) {
                table[i][j] = i + j;
                continue;
            }
            table[i][j] = least(table[i - 1][j] + 1, table[i][j - 1] + 1,
                                table[i - 1][j - 1] + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1));
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
                table[i][j] = least(table[i][j], table[i - 2][j - 2] + 1, table[i][j]);
            }
        }
    }
    return table[a_len][b_len];
}

bool suggest_is_near(const char *name, const char *known, size_t *distance)
{
    *distance = suggest_distance(name, known);
    return *distance * 3 <= strlen(known);
}

void suggest_consider(struct suggestion *best, const char *name, const char *known)
{
    size_t distance;

    if (suggest_is_near(name, known, &distance) && (best->known == NULL || distance < best->distance)) {
        *best = (struct suggestion){.known = known, .distance = distance};
    }
}
