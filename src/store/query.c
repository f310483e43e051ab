/* A query under way on a connection that does not block, and the texts that go along with it. */
#include "store/query.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

bool query_flush(PGconn *connection, int64_t deadline_ms)
{
    int unsent;

    while ((unsent = PQflush(connection)) == 1) {
        /* The server may have something to say before it reads on; not to listen would be a deadlock. */
        if (!clock_poll(PQsocket(connection), POLLIN | POLLOUT, deadline_ms) ||
            clock_now_ms() >= deadline_ms || PQconsumeInput(connection) == 0) {
            return false;
        }
    }
    return unsent == 0;
}

PGresult *query_next_result(PGconn *connection, int64_t deadline_ms, bool *in_time)
{
    *in_time = true;
    while (PQisBusy(connection)) {
        if (!clock_poll(PQsocket(connection), POLLIN, deadline_ms) || PQconsumeInput(connection) == 0) {
            *in_time = false;
            return NULL;
        }
    }
    return PQgetResult(connection);
}

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
