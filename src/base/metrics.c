/* Counters in shared memory. They are a POSIX shared memory object, named after a hash of the token and the
 * layout's version, so that a new version never reads an old one's numbers. All zeros is its right beginning,
 * so nobody need be the first to set it up.
 *
 * What a process contributes to a gauge must vanish with it, however it ends. So each has a slot, held by a
 * lock that the kernel drops, and the sum takes those that are held. */
#include "base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/label_table.h"

enum {
    LAYOUT_VERSION = 4,
    SLOTS = METRICS_SLOTS,
    NO_SLOT = -1,
    OTHER_TOKENS = LABEL_TABLE_ROWS, /* rows behind those that have a label of their own */
    NO_TOKEN,
};

_Static_assert(NO_TOKEN + 1 == METRICS_TOKENS, "each row is told");

struct shared_histogram {
    atomic_uint_fast64_t buckets[METRICS_BUCKETS];
    atomic_uint_fast64_t sum;
};

/* What a process last said of itself. */
struct slot {
    atomic_int_fast64_t gauges[METRICS_GAUGES];
    atomic_int_fast64_t started_ms, cpu_us, resident_bytes, open_files, open_files_max;
};

struct shared {
    atomic_uint_fast64_t requests[METRICS_METHODS][METRICS_OUTCOMES];
    struct shared_histogram request_ms[METRICS_METHODS];
    struct shared_histogram batch_size;
    atomic_uint_fast64_t counters[METRICS_COUNTERS];
    atomic_uint_fast64_t unavailable[METRICS_REASONS];
    struct label_table tokens;
    atomic_uint_fast64_t token_requests[METRICS_TOKENS][METRICS_OUTCOMES];
    struct slot slots[SLOTS];
};

/* How often is seen to it that others find the same memory by its name, and how often a process that has
 * requests says what it uses. */
enum { RENEW_EVERY_MS = 1000, PUBLISH_EVERY_MS = 5000 };

static struct {
    char token_hash[DIGEST_HEX_SIZE]; /* empty until metrics_open */
    bool is_worker;
    _Atomic(struct shared *) shared; /* NULL where there is none */
    atomic_int_fast64_t renewed_at_ms, published_at_ms;
    int64_t started_ms;    /* since 1970 */
    pthread_mutex_t mutex; /* guards what follows */
    int file;
    int slot;
    int64_t gauges[METRICS_GAUGES]; /* this process's own part of each */
} self = {.mutex = PTHREAD_MUTEX_INITIALIZER, .file = -1, .slot = NO_SLOT};

const unsigned metrics_request_bounds_ms[METRICS_BUCKETS - 1] = {1,   2,   5,    10,   25,   50,   100,
                                                                 250, 500, 1000, 2500, 5000, 10000};
const unsigned metrics_batch_bounds[METRICS_BUCKETS - 1] = {1,  2,  4,   8,   16,  24,  32,
                                                            48, 64, 128, 256, 512, 1000};

static struct flock slot_lock(int slot)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
}

/* The caller holds the mutex. */
static void publish(struct slot *slot)
{
    struct process_stats stats = process_stats_read();

    atomic_store(&slot->cpu_us, stats.cpu_us);
    atomic_store(&slot->resident_bytes, stats.resident_bytes);
    atomic_store(&slot->open_files, stats.open_files);
    atomic_store(&slot->open_files_max, stats.open_files_max);
    atomic_store(&slot->started_ms, self.started_ms);
}

/* A slot that nobody holds, for what this process has to say. Where all are held it is missing from the
 * gauges. The caller holds the mutex. */
static int take_slot(struct shared *shared)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        struct flock lock = slot_lock(slot);

        if (fcntl(self.file, F_SETLK, &lock) == 0) {
            publish(&shared->slots[slot]); /* first, so that a worker that is counted has its figures */
            for (size_t i = 0; i < METRICS_GAUGES; i++) {
                atomic_store(&shared->slots[slot].gauges[i], self.gauges[i]);
            }
            return slot;
        }
    }
    return NO_SLOT;
}

static bool is_held(int slot)
{
    struct flock lock = slot_lock(slot);

    /* A process is not in its own way. */
    return slot == self.slot || (fcntl(self.file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK);
}

/* Everybody may make a file of that name: one of another's would be theirs to read, and to cut short under
 * us. Its memory is allotted now, for there is no other way to hear that there is too little than a signal.
 */
static struct shared *map_shared(const char *name, int *file)
{
    struct stat status;
    void *address = MAP_FAILED;

    *file = shm_open(name, O_RDWR | O_CREAT, 0600);
    if (*file < 0) {
        return NULL;
    }
    if (fstat(*file, &status) != 0 || status.st_uid != geteuid()) {
        errno = EPERM;
    } else if ((errno = posix_fallocate(*file, 0, sizeof(struct shared))) == 0) {
        address = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
    }
    if (address == MAP_FAILED) {
        int reason = errno;

        close(*file);
        errno = reason;
        return NULL;
    }
    return address;
}

/* The name that processes with this token find each other by. Others can see it, so it has a hash of the hash
 * that tokens are compared with. */
static void write_name(char *name, size_t size)
{
    char hash[DIGEST_HEX_SIZE];

    digest_sha256((struct slice){.data = self.token_hash, .len = strlen(self.token_hash)}, hash);
    snprintf(name, size, "/incidents-%u-%.16s-%d", (unsigned)geteuid(), hash, LAYOUT_VERSION);
}

/* Joins the memory of that name. What was joined before stays mapped, for other threads may be counting
 * there: a few pages, and as rare as somebody removes it. The caller holds the mutex. */
static bool join(void)
{
    char name[64];
    int file;
    struct shared *shared;

    write_name(name, sizeof name);
    shared = map_shared(name, &file);
    if (shared == NULL) {
        return false;
    }
    if (self.file >= 0) {
        close(self.file);
    }
    self.file = file;
    self.slot = self.is_worker ? take_slot(shared) : NO_SLOT;
    self.shared = shared;
    return true;
}

/* Whether it is time again; true for one caller only. */
static bool is_due(atomic_int_fast64_t *last_ms, int64_t now_ms, int64_t every_ms)
{
    int64_t seen_ms = *last_ms;

    return now_ms - seen_ms >= every_ms && atomic_compare_exchange_strong(last_ms, &seen_ms, now_ms);
}

/* Joins anew where somebody has removed the memory from under its name, as systemd and logind do when a
 * user's last unit or session ends (RemoveIPC): processes that come later would count by themselves. */
static void renew(int64_t now_ms)
{
    struct stat status;

    if (!is_due(&self.renewed_at_ms, now_ms, RENEW_EVERY_MS)) {
        return;
    }
    pthread_mutex_lock(&self.mutex);
    if (fstat(self.file, &status) == 0 && status.st_nlink == 0) {
        join();
    }
    pthread_mutex_unlock(&self.mutex);
}

static void publish_own(void)
{
    pthread_mutex_lock(&self.mutex);
    if (self.slot != NO_SLOT) {
        publish(&self.shared->slots[self.slot]);
    }
    pthread_mutex_unlock(&self.mutex);
}

bool metrics_open(const char *token, bool as_worker)
{
    struct timespec now;
    bool ok;

    clock_gettime(CLOCK_REALTIME, &now);
    self.started_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    digest_sha256((struct slice){.data = token, .len = strlen(token)}, self.token_hash);
    self.is_worker = as_worker;
    self.gauges[METRICS_PROCESSES] = 1;
    pthread_mutex_lock(&self.mutex);
    ok = join();
    pthread_mutex_unlock(&self.mutex);
    return ok;
}

bool metrics_are_enabled(void)
{
    return self.token_hash[0] != '\0';
}

bool metrics_are_open(void)
{
    return self.shared != NULL;
}

/* Hashes of both are compared: how long that takes says nothing about the token. */
bool metrics_token_matches(struct slice token)
{
    char hash[DIGEST_HEX_SIZE];

    digest_sha256(token, hash);
    return metrics_are_enabled() && strcmp(hash, self.token_hash) == 0;
}

static void increment(atomic_uint_fast64_t *number, uint64_t by)
{
    atomic_fetch_add_explicit(number, by, memory_order_relaxed);
}

static void observe(struct shared_histogram *histogram, const unsigned *bounds, uint64_t value)
{
    size_t i = 0;

    while (i < METRICS_BUCKETS - 1 && value > bounds[i]) {
        i++;
    }
    increment(&histogram->buckets[i], 1);
    increment(&histogram->sum, value);
}

void metrics_count_request(size_t method, size_t outcome, int64_t ms)
{
    if (self.shared != NULL && method < METRICS_METHODS && outcome < METRICS_OUTCOMES) {
        int64_t now_ms = clock_now_ms();

        renew(now_ms);
        if (is_due(&self.published_at_ms, now_ms, PUBLISH_EVERY_MS)) {
            publish_own();
        }
        increment(&self.shared->requests[method][outcome], 1);
        observe(&self.shared->request_ms[method], metrics_request_bounds_ms, (uint64_t)ms);
    }
}

void metrics_count_token(const char *label, size_t outcome)
{
    struct shared *shared = self.shared;

    if (shared != NULL && outcome < METRICS_OUTCOMES) {
        size_t row = *label == '\0' ? (size_t)NO_TOKEN : label_table_find(&shared->tokens, label);

        increment(&shared->token_requests[row][outcome], 1);
    }
}

void metrics_count_unavailable(size_t reason)
{
    if (self.shared != NULL && reason < METRICS_REASONS) {
        increment(&self.shared->unavailable[reason], 1);
    }
}

void metrics_count_batch(size_t size)
{
    if (self.shared != NULL) {
        observe(&self.shared->batch_size, metrics_batch_bounds, size);
    }
}

void metrics_count(enum metrics_counter counter)
{
    metrics_count_many(counter, 1);
}

void metrics_count_many(enum metrics_counter counter, uint64_t number)
{
    if (self.shared != NULL) {
        increment(&self.shared->counters[counter], number);
    }
}

void metrics_add(enum metrics_gauge gauge, int64_t difference)
{
    if (self.shared == NULL) {
        return;
    }
    pthread_mutex_lock(&self.mutex);
    self.gauges[gauge] += difference;
    if (self.slot != NO_SLOT) {
        atomic_store(&self.shared->slots[self.slot].gauges[gauge], self.gauges[gauge]);
    }
    pthread_mutex_unlock(&self.mutex);
}

uint64_t metrics_requests(size_t method, size_t outcome)
{
    return self.shared->requests[method][outcome];
}

static const char *token_label(size_t row)
{
    if (row == OTHER_TOKENS) {
        return "other";
    }
    return row == NO_TOKEN ? "" : label_table_text(&self.shared->tokens, row);
}

static bool is_same_token(size_t row, const char *label)
{
    const char *other = token_label(row);

    return other != NULL && strcmp(other, label) == 0;
}

const char *metrics_token_label(size_t row)
{
    const char *label = token_label(row);

    for (size_t before = 0; before < row && label != NULL; before++) {
        if (is_same_token(before, label)) {
            return NULL;
        }
    }
    return label;
}

uint64_t metrics_token_requests(size_t row, size_t outcome)
{
    const char *label = token_label(row);
    uint64_t sum = 0;

    for (size_t i = row; i < METRICS_TOKENS && label != NULL; i++) {
        uint64_t count = self.shared->token_requests[i][outcome];

        if (count > 0 && is_same_token(i, label)) {
            sum += count;
        }
    }
    return sum;
}

uint64_t metrics_unavailable(size_t reason)
{
    return self.shared->unavailable[reason];
}

static struct metrics_histogram read_histogram(const struct shared_histogram *histogram)
{
    struct metrics_histogram copy;

    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        copy.buckets[i] = histogram->buckets[i];
    }
    copy.sum = histogram->sum;
    return copy;
}

struct metrics_histogram metrics_request_ms(size_t method)
{
    return read_histogram(&self.shared->request_ms[method]);
}

struct metrics_histogram metrics_batch_sizes(void)
{
    return read_histogram(&self.shared->batch_size);
}

uint64_t metrics_counted(enum metrics_counter counter)
{
    return self.shared->counters[counter];
}

int64_t metrics_sum(enum metrics_gauge gauge)
{
    int64_t sum = 0;

    pthread_mutex_lock(&self.mutex);
    for (int slot = 0; slot < SLOTS; slot++) {
        int64_t value = self.shared->slots[slot].gauges[gauge];

        if (value != 0 && is_held(slot)) {
            sum += value;
        }
    }
    pthread_mutex_unlock(&self.mutex);
    return sum;
}

size_t metrics_processes(struct metrics_process processes[METRICS_SLOTS])
{
    const struct slot *slots = self.shared->slots;
    size_t count = 0;

    publish_own();
    pthread_mutex_lock(&self.mutex);
    for (int slot = 0; slot < SLOTS; slot++) {
        int64_t started_ms = slots[slot].started_ms;

        if (started_ms != 0 && is_held(slot)) {
            processes[count++] = (struct metrics_process){
                .slot = slot,
                .started_ms = started_ms,
                .stats = {.cpu_us = slots[slot].cpu_us,
                          .resident_bytes = slots[slot].resident_bytes,
                          .open_files = slots[slot].open_files,
                          .open_files_max = slots[slot].open_files_max},
            };
        }
    }
    pthread_mutex_unlock(&self.mutex);
    return count;
}
