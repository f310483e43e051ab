/* The HTTP contract as cases, for one program a transport: as plain CGI each request takes a process. */
#ifndef INCIDENTS_TESTS_CONTRACT_H
#define INCIDENTS_TESTS_CONTRACT_H

#include "harness/http.h"

/* Runs every case on a stack of its own. How many failed. */
int contract_through_nginx(void);
int contract_as_cgi(void);

#endif
