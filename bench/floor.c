/* The least that a batch of new incidents can cost Postgres: one prepared statement that has the operations
 * as a JSON array, again and again, until it is ended. The operations are made here, outside of Postgres.
 * floor CONNECTION STATEMENT ITEMS DONE     the file DONE says how many operations are stored */
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OP_BYTES = 640, OPS_MAX = 1000 };

/* As the worker encodes what bench/load.lua sends. */
static const char op_format[] =
    "%s{\"op\":\"upsert\",\"reference_id\":\"INC-%06lx%06lx-%lx\",\"started_at\":\"2024-01-01 "
    "09:22:33.000000+00\","
    "\"resolved_at\":\"2024-01-01 10:07:00.000000+00\",\"name\":\"Checkout fails for card "
    "payments\",\"priority\":\"P1\","
    "\"source_url\":\"https://status.example.com/incidents/1042\","
    "\"services\":[[\"checkout\",\"Checkout\"],[\"payments-api\",null]],"
    "\"metadata\":{\"cause\":{\"kind\":\"deploy\",\"commit\":\"9f1c2ab\"},\"customers_affected\":412}}";

static void check(const PGconn *connection, PGresult *result)
{
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fprintf(stderr, "floor: %s", PQerrorMessage(connection));
        exit(EXIT_FAILURE);
    }
    PQclear(result);
}

static void write_ops(char *text, size_t size, long count, long done)
{
    size_t used = 0;

    for (long i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, size - used, op_format, i == 0 ? "[" : ",", random() & 0xffffff,
                                 random() & 0xffffff, done + i);
    }
    snprintf(text + used, size - used, "]");
}

int main(int argc, char **argv)
{
    static char ops[OP_BYTES * OPS_MAX];
    const char *const values[] = {ops};
    long count = argc == 5 ? strtol(argv[3], NULL, 10) : 0;
    PGconn *connection;
    int done_file;

    if (count < 1 || count > OPS_MAX || (done_file = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC, 0644)) < 0) {
        fprintf(stderr, "usage: floor CONNECTION STATEMENT ITEMS DONE\n");
        return EXIT_FAILURE;
    }
    srandom((unsigned)time(NULL));
    connection = PQconnectdb(argv[1]);
    check(connection, PQprepare(connection, "floor", argv[2], 1, NULL));
    for (long done = 0;; done += count) {
        dprintf(done_file, "%ld\n", done);
        lseek(done_file, 0, SEEK_SET);
        write_ops(ops, sizeof ops, count, done);
        check(connection, PQexecPrepared(connection, "floor", 1, values, NULL, NULL, 0));
    }
}
