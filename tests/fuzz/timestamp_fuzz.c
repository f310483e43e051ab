/* Timestamps: what is read can be written, and what was written is read as the same instant; of what is not
 * read it can be said what it is instead. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "model/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char written[TIMESTAMP_TEXT_MAX];
    int64_t micros = 0, again = 0;
    size_t len;

    if (!timestamp_parse((const char *)data, size, &micros)) {
        const char *found = timestamp_describe((const char *)data, size);

        MUST(micros == 0 && (found == NULL || *found != '\0'));
        MUST(!timestamp_has_invalid_date((const char *)data, size) || size >= sizeof "2024001" - 1);
        return 0;
    }
    timestamp_format(micros, written);
    len = strlen(written);
    MUST(len == sizeof "2024-01-01 09:22:33.000000+00" - 1);
    MUST(timestamp_parse(written, len, &again) && again == micros);
    MUST(!timestamp_is_out_of_range((const char *)data, size));
    return 0;
}
