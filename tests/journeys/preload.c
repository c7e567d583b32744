/* Between the program and the C library: short reads and writes, interrupted calls, another clock.
 *
 * PKG_TEST_SHORT=SEED        every second read or write of a file is interrupted or does only a part
 * PKG_TEST_CLOCK=SECONDS     the clock on the wall is so far ahead, or behind
 * PKG_TEST_CLOCK_TURNS=N     ... for the first N looks at it; later it is right
 *
 * Each call that is made does what it says: the kernel is never lied about. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static atomic_ulong dice;
static atomic_long looks;

static unsigned long roll(void) {
    const char *seed = getenv("PKG_TEST_SHORT");
    if (!seed) return 0;
    unsigned long n = atomic_fetch_add(&dice, 0x9E3779B97F4A7C15ul) + strtoul(seed, 0, 10);
    n = (n ^ (n >> 30)) * 0xBF58476D1CE4E5B9ul;
    return (n ^ (n >> 27)) * 0x94D049BB133111EBul >> 33 | 1ul << 32;
}

static int is_file(int fd) {
    struct stat meta;
    return fstat(fd, &meta) == 0 && S_ISREG(meta.st_mode);
}

/* Fewer bytes than were asked for, at least one; all of them every other time; -1 for an interruption. */
static ssize_t part(int fd, size_t count) {
    unsigned long n = roll();
    if (!n || n % 2 || count < 2 || !is_file(fd)) return count;
    if (n % 8 == 0) {
        errno = EINTR;
        return -1;
    }
    return 1 + (n >> 4) % (count - 1);
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define SHORTENED(name, parameters, arguments)        \
    ssize_t name parameters {                         \
        REAL(name);                                   \
        ssize_t bytes = part(fd, count);                  \
        return bytes < 0 ? bytes : real arguments;    \
    }

SHORTENED(read, (int fd, void *buffer, size_t count), (fd, buffer, bytes))
SHORTENED(write, (int fd, const void *buffer, size_t count), (fd, buffer, bytes))
SHORTENED(pread, (int fd, void *buffer, size_t count, off_t at), (fd, buffer, bytes, at))
SHORTENED(pread64, (int fd, void *buffer, size_t count, off64_t at), (fd, buffer, bytes, at))
SHORTENED(pwrite, (int fd, const void *buffer, size_t count, off_t at), (fd, buffer, bytes, at))
SHORTENED(pwrite64, (int fd, const void *buffer, size_t count, off64_t at), (fd, buffer, bytes, at))

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    const char *ahead = getenv("PKG_TEST_CLOCK"), *turns = getenv("PKG_TEST_CLOCK_TURNS");
    if (ahead && clock == CLOCK_REALTIME && (!turns || atomic_fetch_add(&looks, 1) < atol(turns)))
        now->tv_sec += atol(ahead);
    return result;
}
