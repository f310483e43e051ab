/* The least that a CGI program with Postgres can do: connect, run a statement, say that it went well. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    PGconn *connection = PQconnectdb(getenv("DATABASE_URL"));
    PGresult *result = PQexec(connection, "SELECT 1");
    int status = PQresultStatus(result) == PGRES_TUPLES_OK ? EXIT_SUCCESS : EXIT_FAILURE;

    puts("Status: 200 OK\r\n\r\n{\"ok\":true}");
    PQclear(result);
    PQfinish(connection);
    return status;
}
