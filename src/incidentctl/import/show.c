/* Texts of the input, in messages. */
#include "incidentctl/import/show.h"

#include "base/utf8.h"

void append_shown(struct buffer *message, struct slice text, size_t max)
{
    const unsigned char *bytes = (const unsigned char *)text.data;

    for (size_t i = 0, len; i < text.len; i += len) {
        len = utf8_sequence(bytes + i, text.len - i);
        if (i + (len > 0 ? len : 1) > max) {
            buffer_append_text(message, "...");
            return;
        }
        if (len == 0) {
            buffer_append_format(message, "\\x%02X", bytes[i]);
            len = 1;
        } else if (utf8_is_control(utf8_code_point(bytes + i, len))) {
            buffer_append_text(message, "?");
        } else {
            buffer_append(message, text.data + i, len);
        }
    }
}
