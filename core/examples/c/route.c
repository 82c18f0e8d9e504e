/*
 * Routes HTTP requests that it reads from a file or a pipe, and says where each would go.
 *
 *   route MANIFESTS LOAD_BALANCER PORT [FILE]
 *
 * FILE (standard input unless given) holds request heads as they are sent: a request line, header lines, an
 * empty line. The loop waits with poll(2) for input and for the moment podway wants to be asked again, as a
 * server does; nothing is sent to anybody.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <podway.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HEADERS = 64, MAX_HEAD = 65536 };

static podway_str view(const char *text) {
    podway_str it = {(const uint8_t *)text, strlen(text)};
    return it;
}

static void print(podway_str text) {
    fwrite(text.ptr, 1, text.len, stdout);
}

/* The library reads no clock. */
static podway_now moment(void) {
    struct timespec mono, unix_time;
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &unix_time);
    podway_now now = {(uint64_t)mono.tv_sec * 1000 + (uint64_t)mono.tv_nsec / 1000000, (uint64_t)unix_time.tv_sec};
    return now;
}

static int refused(const char *what, podway_error *error) {
    podway_str message = podway_error_message(error);
    fprintf(stderr, "route: %s: %.*s\n", what, (int)message.len, (const char *)message.ptr);
    podway_error_free(error);
    return 2;
}

/* Cuts a head into views: nothing is copied. Returns 0 where it is not HTTP. */
static int parse(char *head, size_t length, podway_request *request, podway_header *headers) {
    char *end = head + length, *line = head;
    memset(request, 0, sizeof *request);
    request->struct_size = sizeof *request;
    request->headers = headers;
    for (int first = 1; line < end; first = 0) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        char *next = stop == NULL ? end : stop + 1;
        if (stop == NULL) stop = end;
        if (stop > line && stop[-1] == '\r') stop--;
        char *cut = memchr(line, first ? ' ' : ':', (size_t)(stop - line));
        if (stop > line && cut == NULL) return 0;
        if (first && cut != NULL) {
            char *target = cut + 1, *version = memchr(target, ' ', (size_t)(stop - target));
            if (version == NULL) return 0;
            request->method.ptr = (const uint8_t *)line;
            request->method.len = (size_t)(cut - line);
            request->target.ptr = (const uint8_t *)target;
            request->target.len = (size_t)(version - target);
        } else if (cut != NULL) {
            if (request->header_count == MAX_HEADERS) return 0;
            podway_header *header = &headers[request->header_count++];
            header->name.ptr = (const uint8_t *)line;
            header->name.len = (size_t)(cut - line);
            for (cut++; cut < stop && (*cut == ' ' || *cut == '\t');) cut++;
            header->value.ptr = (const uint8_t *)cut;
            header->value.len = (size_t)(stop - cut);
        }
        line = next;
    }
    return request->method.len > 0;
}

static void route(const podway_router *router, uint32_t listener, podway_output *output, char *head, size_t length) {
    podway_request request;
    podway_header headers[MAX_HEADERS];
    if (!parse(head, length, &request, headers)) {
        printf("400 this is not a request\n");
        return;
    }
    podway_address_parse(view("192.0.2.1:40000"), &request.peer);
    podway_decision decision = {0};
    decision.struct_size = sizeof decision;
    podway_now now = moment();
    if (podway_router_decide(router, listener, &request, now, now.mono_ms, output, &decision) != PODWAY_STATUS_OK)
        return;
    print(request.method);
    putchar(' ');
    print(request.target);
    printf(" -> ");
    print(podway_type_name(decision.type));
    if (decision.type == PODWAY_TYPE_FORWARD) {
        podway_text *name = NULL;
        if (podway_router_target_name(router, decision.target, &name) == PODWAY_STATUS_OK) {
            putchar(' ');
            print(podway_text_view(name));
            podway_text_free(name);
        }
        /* A server sends the request to decision.address here, and reports what became of it. */
        podway_router_report(router, &decision, PODWAY_OUTCOME_CANCELLED, 0, now);
    } else {
        printf(" %u ", (unsigned)decision.status);
        print(podway_output_location(output));
        print(podway_reason_name(decision.reason));
    }
    putchar('\n');
}

/* The length of the first whole head in the buffer, with its empty line; 0 where there is none yet. */
static size_t whole(const char *text, size_t length) {
    for (size_t i = 0; i + 1 < length; i++)
        if (text[i] == '\n' && (text[i + 1] == '\n' || (i + 2 < length && text[i + 1] == '\r' && text[i + 2] == '\n')))
            return i + (text[i + 1] == '\n' ? 2 : 3);
    return 0;
}

static int serve(const podway_router *router, uint32_t listener, int file) {
    static char buffer[MAX_HEAD];
    size_t used = 0;
    podway_output *output = podway_output_new();
    podway_probes *probes = podway_probes_new();
    for (;;) {
        /* What is due by time: a server sends these probes and hands in podway_router_report_probe. */
        uint64_t next = UINT64_MAX, now = moment().mono_ms;
        podway_router_poll(router, moment(), probes, &next);
        struct pollfd input = {file, POLLIN, 0};
        int wait = next == UINT64_MAX ? -1 : next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
        if (poll(&input, 1, wait) < 0 && errno != EINTR) break;
        if (input.revents == 0) continue;
        ssize_t more = read(file, buffer + used, sizeof buffer - used);
        if (more < 0 && errno == EINTR) continue;
        if (more > 0) used += (size_t)more;
        for (size_t head; (head = whole(buffer, used)) > 0;) {
            route(router, listener, output, buffer, head);
            used -= head;
            memmove(buffer, buffer + head, used);
        }
        if (more <= 0 || used == sizeof buffer) {
            if (used > 0) route(router, listener, output, buffer, used);
            break;
        }
    }
    podway_probes_free(probes);
    podway_output_free(output);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: route MANIFESTS LOAD_BALANCER PORT [FILE]\n");
        return 2;
    }
    podway_model *model = NULL;
    podway_router *router = NULL;
    podway_error *error = NULL;
    podway_str path = view(argv[1]), none = {NULL, 0};
    if (podway_model_load(&path, 1, NULL, &model, &error) != PODWAY_STATUS_OK) return refused(argv[1], error);
    /* Replicas that share 32 random bytes honour each other's cookies; these are not for production. */
    static const uint8_t secret[32] = {1, 2, 3};
    podway_str key = {secret, sizeof secret};
    podway_status made = podway_router_new(model, none, key, moment(), &router, &error);
    podway_model_free(model);
    if (made != PODWAY_STATUS_OK) return refused(argv[1], error);
    uint32_t listener = 0;
    int code = 2, file = argc > 4 ? open(argv[4], O_RDONLY) : STDIN_FILENO;
    if (podway_router_listener(router, view(argv[2]), (uint16_t)atoi(argv[3]), &listener) != PODWAY_STATUS_OK)
        fprintf(stderr, "route: %s has no listener on port %s\n", argv[2], argv[3]);
    else if (file < 0)
        fprintf(stderr, "route: %s cannot be read\n", argv[4]);
    else
        code = serve(router, listener, file);
    if (file > STDIN_FILENO) close(file);
    podway_router_free(router);
    return code;
}
