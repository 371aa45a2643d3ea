/* Asks one request at a declared rate, whatever the answers do, and counts latency from when a request was due.

   usage: open_loop PORT PATH BODY-FILE RATE SECONDS CONNECTIONS

   Arrivals are a Poisson process, the same one each time. A request that finds every connection busy waits, and the
   wait is part of its latency: so a server that stalls is not spared the requests that were due meanwhile
   (no coordinated omission). It spins on its core, for a timer would be later than what is measured. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024
#define ROOM 65536

typedef struct {
  int fd;
  double due;
  size_t held;
  char answer[ROOM];
} Connection;

static Connection connections[MOST];
static int idle[MOST], idle_count;
static uint64_t state = 88172645463325252ULL;

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec + at.tv_nsec * 1e-9;
}

static double gap(double rate) { /* until the next arrival; xorshift64 */
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return -log(1.0 - (state >> 11) * 0x1p-53) / rate;
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Return the length of the whole answer that is held, 0 while it is not whole. */
static size_t whole(const Connection *c) {
  const char *blank = memmem(c->answer, c->held, "\r\n\r\n", 4);
  if (!blank) return 0;
  for (const char *line = c->answer; line < blank; line = (const char *)memmem(line, blank + 2 - line, "\r\n", 2) + 2)
    if (!strncasecmp(line, "content-length:", 15)) {
      size_t length = (blank - c->answer) + 4 + strtoul(line + 15, NULL, 10);
      return c->held >= length ? length : 0;
    }
  return 0;
}

int main(int count, char **given) {
  if (count != 7) return fprintf(stderr, "usage: open_loop PORT PATH BODY-FILE RATE SECONDS CONNECTIONS\n"), 2;
  double rate = atof(given[4]), seconds = atof(given[5]);
  int many = atoi(given[6]);
  if (many < 1 || many > MOST) return 2;

  static char body[ROOM], request[2 * ROOM];
  FILE *file = fopen(given[3], "rb");
  if (!file) fail("the body");
  size_t size = fread(body, 1, sizeof body, file);
  int head = snprintf(request, ROOM,
                      "POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                      "content-length: %zu\r\n\r\n", given[2], size);
  memcpy(request + head, body, size);
  size += head;

  int poll = epoll_create1(0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(given[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < many; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    connections[i].fd = fd;
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wanted);
    idle[idle_count++] = i;
  }

  size_t room = rate * seconds * 1.2 + 10000, answered = 0, errors = 0, sent = 0;
  float *latencies = malloc(room * sizeof *latencies);
  double start = now(), due = start + gap(rate), end = start + seconds;
  while ((due < end || idle_count < many) && now() < end + 10) {
    double at = now();
    while (due < end && due <= at && idle_count) {
      Connection *c = &connections[idle[--idle_count]];
      c->due = due, c->held = 0;
      if (write(c->fd, request, size) != (ssize_t)size) fail("write");
      sent++, due += gap(rate), at = now();
    }
    struct epoll_event found[64];
    int ready = epoll_wait(poll, found, 64, 0);
    for (int i = 0; i < ready; i++) {
      Connection *c = &connections[found[i].data.u32];
      ssize_t got = read(c->fd, c->answer + c->held, ROOM - c->held);
      if (!got || (got < 0 && errno != EAGAIN)) fail("the server hung up");
      if (got > 0) c->held += got;
      if (!whole(c)) continue;
      if (memcmp(c->answer, "HTTP/1.1 200", 12)) errors++;
      if (answered < room) latencies[answered++] = (now() - c->due) * 1e6;
      idle[idle_count++] = found[i].data.u32;
    }
  }
  if (!answered) return fprintf(stderr, "no answer\n"), 1;
  qsort(latencies, answered, sizeof *latencies, compare);
  printf("{\"requests\":%zu,\"unanswered\":%zu,\"errors\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
         answered, sent - answered, errors, latencies[answered / 2], latencies[(size_t)(answered * 0.99)],
         latencies[(size_t)(answered * 0.999)]);
}
