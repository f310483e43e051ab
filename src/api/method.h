/* What the methods of the API have in common. */
#ifndef INCIDENTS_API_METHOD_H
#define INCIDENTS_API_METHOD_H

#include "api/api.h"

/* Each method reads its request and encodes what is to be asked of the database into exchange->op, which is
 * left empty where nothing is. False, with the error set, where the answer is known without asking; an error
 * that is set all the same is the answer unless the database has a reason of its own. */
typedef bool method_handler(struct exchange *exchange);

/* api/incidents.c */
method_handler incidents_upsert;
method_handler incidents_sync;
method_handler incidents_delete;

/* api/health.c */
method_handler healthz;
method_handler readyz;

/* api/metrics.c */
method_handler metrics;

/* The name of the method of that number, from 0 on; NULL behind the last, which stands for all that are none.
 */
const char *method_name(size_t method);

/* What came of an exchange, as a number below OUTCOMES: the errors' codes, then the operations' outcomes. */
enum { OUTCOMES = ERROR_INTERNAL + 1 + OP_FAILED + 1 };
size_t outcome_of(const struct exchange *exchange);
bool outcome_is_error(size_t outcome);
/* The word for it in the log and in the metrics. */
const char *outcome_text(size_t outcome);

/* Answers 200 with {"ok":true} and, where reference_id is not NULL, what happened to which incident. */
void answer_ok(struct response *response, const char *action, const char *reference_id);

/* Answers with the error's code, status and sentence. */
void answer_error(struct response *response, const struct error *error);

#endif
