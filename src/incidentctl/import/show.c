/* Texts of the input, in messages. */
#include "incidentctl/import/show.h"

#include <string.h>

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

enum { PATH_SHOWN_MAX = 200 };

static void append_path(struct buffer *message, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./,:@%+=-";
    size_t len = strlen(path);

    if (len > PATH_SHOWN_MAX) {
        buffer_append_text(message, "FILE");
    } else if (strspn(path, plain) == len) {
        buffer_append_text(message, path);
    } else {
        buffer_append_text(message, "'");
        for (size_t i = 0; i < len; i++) {
            if (path[i] == '\'') {
                buffer_append_text(message, "'\\''");
            } else {
                buffer_append(message, &path[i], 1);
            }
        }
        buffer_append_text(message, "'");
    }
}

void append_command(struct buffer *message, const char *command, const char *path)
{
    buffer_append_text(message, command);
    if (path != NULL) {
        buffer_append_text(message, " ");
        append_path(message, path);
    }
    buffer_append_text(message, " | incidentctl import -");
}
