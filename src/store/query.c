/* Numbers as they go along with a query, and come back, in text. */
#include "store/query.h"

#include <stdio.h>
#include <stdlib.h>

void query_write_numbers(const int64_t *numbers, size_t count, char text[QUERY_NUMBERS_SIZE])
{
    size_t used = (size_t)snprintf(text, QUERY_NUMBERS_SIZE, "{");

    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, QUERY_NUMBERS_SIZE - used, "%s%lld", i == 0 ? "" : ",",
                                 (long long)numbers[i]);
    }
    snprintf(text + used, QUERY_NUMBERS_SIZE - used, "}");
}

int64_t query_read_number(const PGresult *result, int row, int column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}
