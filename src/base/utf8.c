/* Well-formed UTF-8. */
#include "base/utf8.h"

size_t utf8_sequence(const unsigned char *data, size_t left)
{
    unsigned char lead = data[0];
    unsigned char low = 0x80, high = 0xBF; /* the bounds of the second byte */
    size_t length;

    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        low = lead == 0xE0 ? 0xA0 : 0x80;  /* no overlong form */
        high = lead == 0xED ? 0x9F : 0xBF; /* no surrogate */
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        low = lead == 0xF0 ? 0x90 : 0x80;  /* no overlong form */
        high = lead == 0xF4 ? 0x8F : 0xBF; /* nothing past U+10FFFF */
    } else {
        return 0;
    }
    if (left < length || data[1] < low || data[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((data[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

size_t utf8_cut(const char *data, size_t len, size_t max)
{
    size_t whole = 0, step;

    while (whole < len && (step = utf8_sequence((const unsigned char *)data + whole, len - whole)) > 0 &&
           whole + step <= max) {
        whole += step;
    }
    return whole;
}

bool utf8_is_valid(const char *data, size_t len)
{
    return utf8_cut(data, len, len) == len;
}

uint32_t utf8_code_point(const unsigned char *sequence, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t point = sequence[0] & lead_bits[length];

    for (size_t i = 1; i < length; i++) {
        point = point << 6 | (sequence[i] & 0x3F);
    }
    return point;
}

bool utf8_is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x061C || point == 0x200E ||
           point == 0x200F || (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}
