/* What to do about an error of the database: the one table from SQLSTATE to action. */
#ifndef INCIDENTS_STORE_SQLSTATE_H
#define INCIDENTS_STORE_SQLSTATE_H

enum sqlstate_action {
    SQLSTATE_RECONNECT, /* the connection or the server is gone or useless: try again on a new connection */
    SQLSTATE_PLAN,      /* the same where the server's cache of plans says so, or else ours */
    SQLSTATE_ELSEWHERE, /* the server is not the one that can be written to: try again, on another first */
    SQLSTATE_RETRY,     /* the transaction lost against another: try again */
    SQLSTATE_GREET,     /* too late by the server's clock, or we know it badly: learn it, try again */
    SQLSTATE_TYPE,   /* the type that is sent is another there: by where it is said, learn it or answer 503 */
    SQLSTATE_SCHEMA, /* the schema is not the one this build needs: answer 503 until it is */
    SQLSTATE_LOGIN,  /* the login is refused: as SQLSTATE_RECONNECT, and answer 503 that says so */
    SQLSTATE_RIGHT,  /* the role lacks a right: answer 503 until it has it */
    SQLSTATE_UNAVAILABLE, /* trying again at once is of no use: answer 503 */
    SQLSTATE_KEY,         /* a key is taken: of the history, a sequence that is behind its table; else ours */
    SQLSTATE_DATA,   /* a value that the database cannot keep; which one, and whether it is the operation's
                        fault   or that of an index or trigger which somebody added, it does not say */
    SQLSTATE_DEFECT, /* ours */
};

/* The action for a SQLSTATE of five characters (PostgreSQL manual, appendix A). NULL, as libpq gives it for
 * errors of its own, is a lost connection. */
enum sqlstate_action sqlstate_action(const char *sqlstate);

#endif
