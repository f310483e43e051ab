/* How far a long command has come. */
#include "incidentctl/support/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { BAR_EVERY_MS = 200, LINE_EVERY_MS = 5000, BAR_WIDTH = 24, SOON_MS = 500 };

void progress_start(struct progress *progress, uint64_t total)
{
    *progress = (struct progress){
        .is_terminal = isatty(STDERR_FILENO) == 1, .total = total, .started_ms = clock_now_ms()};
    progress->next_ms = progress->started_ms + (progress->is_terminal ? SOON_MS : LINE_EVERY_MS);
}

void progress_clear(struct progress *progress)
{
    if (progress->is_drawn) {
        fputs("\r\033[K", stderr);
        progress->is_drawn = false;
    }
}

/* "45%, 1:23:45 left"; empty where the end is not known. */
static void describe_rest(const struct progress *progress, uint64_t done, int64_t elapsed_ms,
                          char text[static 64])
{
    double part, left_seconds;
    long seconds;

    *text = '\0';
    if (progress->total == 0 || done == 0) {
        return;
    }
    part = (double)done / (double)progress->total;
    part = part > 1 ? 1 : part;
    left_seconds = (double)elapsed_ms / 1000 * (1 - part) / part;
    seconds = left_seconds > 8639999 ? 8639999 : (long)left_seconds;
    snprintf(text, 64, ", %.0f%%, %ld:%02ld:%02ld left", part * 100, seconds / 3600, seconds / 60 % 60,
             seconds % 60);
}

static void draw_bar(const struct progress *progress, uint64_t done)
{
    char bar[BAR_WIDTH + 1];
    size_t filled = progress->total == 0 ? 0 : (size_t)(done * BAR_WIDTH / progress->total);

    if (progress->total > 0) {
        memset(bar, '.', BAR_WIDTH);
        memset(bar, '#', filled > BAR_WIDTH ? BAR_WIDTH : filled);
        bar[BAR_WIDTH] = '\0';
        fprintf(stderr, "[%s] ", bar);
    }
}

void progress_show(struct progress *progress, uint64_t records, uint64_t done)
{
    int64_t now_ms = clock_now_ms(), elapsed_ms = now_ms - progress->started_ms;
    char rest[64];

    if (now_ms < progress->next_ms) {
        return;
    }
    progress->next_ms = now_ms + (progress->is_terminal ? BAR_EVERY_MS : LINE_EVERY_MS);
    describe_rest(progress, done, elapsed_ms, rest);
    progress_clear(progress);
    if (progress->is_terminal) {
        draw_bar(progress, done);
    } else {
        fputs("incidentctl: ", stderr);
    }
    fprintf(stderr, "%llu records, %.0f/s%s%s", (unsigned long long)records,
            (double)records * 1000 / (double)(elapsed_ms > 0 ? elapsed_ms : 1), rest,
            progress->is_terminal ? "" : "\n");
    progress->is_drawn = progress->is_terminal;
    fflush(stderr);
}

void progress_show_wait(struct progress *progress)
{
    int64_t now_ms = clock_now_ms();

    if (!progress->is_terminal || now_ms < progress->next_ms) {
        return;
    }
    progress->next_ms = now_ms + BAR_EVERY_MS;
    progress_clear(progress);
    fprintf(stderr, "the database is at work, %lld s", (long long)(now_ms - progress->started_ms) / 1000);
    progress->is_drawn = true;
    fflush(stderr);
}
