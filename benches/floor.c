// What a kernel lets a program do with the messages of MQTT: a floor to hold brokers against. This is no broker.
//
// `floor PORT` listens on 127.0.0.1. It is one loop over epoll: each turn waits once, reads once from each socket that
// is ready, and after all reads writes once to each that has something to get. PUBLISH is copied as it came to all who
// subscribed to its topic, found by a hash of it, at QoS 1 with the next packet id of each receiver. It is acknowledged
// at once. A shared subscription deals messages out to its members in turn.
//
// It keeps nothing: no session, no retained message, no will, nothing to send again; PUBACK is not looked at. It checks
// nothing: no name, no right, no client id, no keep alive. It knows MQTT 3.1.1, and of that no QoS 2. Messages leave at
// the QoS that they came with, whatever was asked for. Filters are taken as they are spelled, but for a + as the last
// level, which takes a second look: many publishers to few need it. It has no limits: who does not read makes it grow,
// and what it knows of a filter stays. What it does not understand ends the connection, and so does a packet that does
// not fit into its one buffer.
//
// `benches/compare --brokers midge,mosquitto,floor` builds and measures it; by hand it is `cc -O2 -o floor floor.c`.

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT = 1, PUBLISH = 3, PUBACK = 4, SUBSCRIBE = 8, UNSUBSCRIBE = 10, PINGREQ = 12 };
enum { EVENTS = 1024, BUCKETS_LOG2 = 16, IN_BYTES = 1 << 15, FILTERS_MAX = 125 };

struct bytes { uint8_t *at; size_t len, capacity; };

struct client {
    int fd;
    uint32_t life;  // One more whenever a connection ends.
    uint16_t packet_id;
    bool is_connected, is_gone, is_touched, is_full;
    struct client *next;      // Among those touched, or those to be used again.
    struct bytes out, begun;  // What is to be written; a packet of which not all has come.
};

struct member { struct client *client; uint32_t life; };

struct filter {
    struct filter *next;  // In its bucket.
    struct member *members;
    size_t count, capacity, turn;
    size_t topic_at, len;  // Before the topic may be `$share/GROUP/`.
    uint8_t text[];
};

static int epoll;
static uint8_t in[IN_BYTES];
static struct filter *buckets[1 << BUCKETS_LOG2];
static bool has_plus;  // Whether a filter ends in +.
static struct client *touched, **touched_end = &touched;  // They have something to get, or are gone.
static struct client *unused;  // Members may still point at them.

static void *room(void *items, size_t *capacity, size_t needed, size_t item_size) {
    if (needed <= *capacity) return items;
    *capacity = needed > 2 * *capacity ? needed : 2 * *capacity;
    items = realloc(items, *capacity * item_size);
    if (items) return items;
    perror("floor");
    exit(1);
}

static uint8_t *append(struct bytes *to, const void *bytes, size_t len) {
    to->at = room(to->at, &to->capacity, to->len + len, 1);
    to->len += len;
    return memcpy(to->at + to->len - len, bytes, len);
}

static void touch(struct client *client) {
    if (client->is_touched) return;
    client->is_touched = true;
    client->next = NULL;
    *touched_end = client;
    touched_end = &client->next;
}

static uint8_t *put(struct client *client, const void *bytes, size_t len) {
    if (!client->is_full) touch(client);
    return append(&client->out, bytes, len);
}

static struct filter **bucket(const uint8_t *topic, size_t len) {
    uint64_t hash = len, word;
    const uint64_t odd = 0x9e3779b97f4a7c15;
    for (; len >= sizeof word; topic += sizeof word, len -= sizeof word) {
        memcpy(&word, topic, sizeof word);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    for (; len > 0; topic++, len--) hash = (hash ^ *topic) * odd;
    return &buckets[hash >> (64 - BUCKETS_LOG2)];
}

static void change(struct client *client, const uint8_t *text, size_t len, bool comes) {
    const uint8_t *slash = len > 7 && memcmp(text, "$share/", 7) == 0 ? memchr(text + 7, '/', len - 7) : NULL;
    size_t topic_at = slash ? (size_t)(slash + 1 - text) : 0;
    struct filter **link = bucket(text + topic_at, len - topic_at), *filter;
    while ((filter = *link) && (filter->len != len || memcmp(filter->text, text, len) != 0)) link = &filter->next;
    if (!filter) {
        filter = *link = room(NULL, &(size_t){0}, sizeof *filter + len, 1);
        *filter = (struct filter){.topic_at = topic_at, .len = len};
        memcpy(filter->text, text, len);
        has_plus |= len > 0 && text[len - 1] == '+';
    }
    for (size_t n = 0; n < filter->count;)
        if (filter->members[n].client == client) filter->members[n] = filter->members[--filter->count];
        else n++;
    if (!comes) return;
    filter->members = room(filter->members, &filter->capacity, filter->count + 1, sizeof *filter->members);
    filter->members[filter->count++] = (struct member){client, client->life};
}

static bool on_filters(struct client *client, bool comes, const uint8_t *at, const uint8_t *end) {
    if (end - at < 2) return false;
    uint8_t answer[4 + FILTERS_MAX] = {comes ? 0x90 : 0xb0, 2, at[0], at[1]};
    for (at += 2; at < end;) {
        size_t len = end - at < 2 ? IN_BYTES : (size_t)at[0] << 8 | at[1];
        if ((size_t)(end - at) < 2 + len + comes || answer[1] == 2 + FILTERS_MAX) return false;
        change(client, at + 2, len, comes);
        at += 2 + len;
        if (comes) answer[2 + answer[1]++] = *at++;
    }
    put(client, answer, 2 + answer[1]);
    return true;
}

static bool deliver(struct filter *filter, size_t n, const uint8_t *packet, size_t len, size_t id_at) {
    struct member to = filter->members[n];
    if (to.life != to.client->life) {
        filter->members[n] = filter->members[--filter->count];
        return false;
    }
    uint8_t *copy = put(to.client, packet, len);
    copy[0] &= 0xf6;  // Neither DUP nor RETAIN.
    if (id_at == 0) return true;
    if (++to.client->packet_id == 0) to.client->packet_id = 1;
    copy[id_at] = (uint8_t)(to.client->packet_id >> 8);
    copy[id_at + 1] = (uint8_t)to.client->packet_id;
    return true;
}

static void route(const uint8_t *topic, size_t topic_len, const uint8_t *packet, size_t len, size_t id_at) {
    for (struct filter *filter = *bucket(topic, topic_len); filter; filter = filter->next) {
        if (filter->len - filter->topic_at != topic_len) continue;
        if (memcmp(filter->text + filter->topic_at, topic, topic_len) != 0) continue;
        if (filter->topic_at > 0)
            while (filter->count > 0 && !deliver(filter, filter->turn++ % filter->count, packet, len, id_at)) {}
        else
            for (size_t n = 0; n < filter->count;) n += deliver(filter, n, packet, len, id_at);
    }
}

static bool on_publish(struct client *client, const uint8_t *packet, size_t body_at, size_t len) {
    static uint8_t plus[UINT16_MAX + 1];
    size_t qos = packet[0] >> 1 & 3;
    if (qos > 1 || len - body_at < 2) return false;
    const uint8_t *topic = packet + body_at + 2;
    size_t topic_len = (size_t)topic[-2] << 8 | topic[-1], id_at = body_at + 2 + topic_len;
    if (len < id_at + 2 * qos) return false;
    route(topic, topic_len, packet, len, qos * id_at);
    if (has_plus) {
        const uint8_t *slash = memrchr(topic, '/', topic_len);
        size_t above = slash ? (size_t)(slash + 1 - topic) : 0;
        memcpy(plus, topic, above);
        plus[above] = '+';
        route(plus, above + 1, packet, len, qos * id_at);
    }
    if (qos == 1) put(client, (uint8_t[]){0x40, 2, packet[id_at], packet[id_at + 1]}, 4);
    return true;
}

// Whether it goes on.
static bool on_packet(struct client *client, const uint8_t *packet, size_t body_at, size_t len) {
    int type = packet[0] >> 4;
    if ((type == CONNECT) == client->is_connected) return false;
    switch (type) {
    case CONNECT:
        if (len - body_at < 7 || memcmp(packet + body_at, "\0\4MQTT\4", 7) != 0) return false;
        put(client, (uint8_t[]){0x20, 2, 0, 0}, 4);
        return client->is_connected = true;
    case PUBLISH: return on_publish(client, packet, body_at, len);
    case PUBACK: return true;
    case SUBSCRIBE: return on_filters(client, true, packet + body_at, packet + len);
    case UNSUBSCRIBE: return on_filters(client, false, packet + body_at, packet + len);
    case PINGREQ: return put(client, (uint8_t[]){0xd0, 0}, 2);
    default: return false;  // DISCONNECT, too.
    }
}

// The length of the packet that begins here; 0 for one that is not all there, -1 for one that never will be.
static ssize_t packet_len(const uint8_t *bytes, size_t have, size_t *body_at) {
    size_t len = 0;
    for (*body_at = 1; *body_at < have && *body_at < 5;) {
        uint8_t byte = bytes[*body_at];
        len |= (size_t)(byte & 0x7f) << 7 * (*body_at - 1);
        *body_at += 1;
        if (byte < 0x80) return *body_at + len > IN_BYTES ? -1 : *body_at + len > have ? 0 : (ssize_t)(*body_at + len);
    }
    return *body_at < 5 ? 0 : -1;
}

static bool read_once(struct client *client) {
    size_t have = client->begun.len, at = 0, body_at;
    if (have > 0) memcpy(in, client->begun.at, have);
    ssize_t got = recv(client->fd, in + have, IN_BYTES - have, 0), len;
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    have += (size_t)got;
    for (; (len = packet_len(in + at, have - at, &body_at)) > 0; at += (size_t)len)
        if (!on_packet(client, in + at, body_at, (size_t)len)) return false;
    client->begun.len = 0;
    if (at < have) append(&client->begun, in + at, have - at);
    return len == 0;
}

static bool write_once(struct client *client) {
    struct bytes *out = &client->out;
    ssize_t sent = send(client->fd, out->at, out->len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0 && (out->len -= (size_t)sent) > 0) memmove(out->at, out->at + sent, out->len);
    if (client->is_full == (out->len > 0)) return true;
    client->is_full = !client->is_full;
    struct epoll_event watch = {.events = EPOLLIN | (client->is_full ? EPOLLOUT : 0), .data.ptr = client};
    return epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &watch) == 0;
}

static void end(struct client *client) {
    free(client->begun.at);
    free(client->out.at);
    close(client->fd);
    *client = (struct client){.life = client->life + 1, .next = unused};
    unused = client;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        struct client *client = unused;
        if (client) unused = client->next;
        else *(client = room(NULL, &(size_t){0}, 1, sizeof *client)) = (struct client){0};
        client->fd = fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = client});
    }
}

static int listen_on(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // What is accepted has it, too.
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0) return -1;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) == 0 ? fd : -1;
}

static void turn(int listener) {
    static struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, -1);
    for (int n = 0; n < ready; n++) {
        struct client *client = events[n].data.ptr;
        if (!client) {
            accept_all(listener);
            continue;
        }
        if (events[n].events & EPOLLOUT) touch(client);
        if ((events[n].events & ~(uint32_t)EPOLLOUT) == 0 || read_once(client)) continue;
        client->is_gone = true;
        touch(client);
    }
    struct client *next = touched;
    touched = NULL;
    touched_end = &touched;
    for (struct client *client = next; client; client = next) {
        next = client->next;
        client->is_touched = false;
        if (client->is_gone || !write_once(client)) end(client);
    }
}

int main(int count, char **arguments) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){files.rlim_max, files.rlim_max});
    int port = count == 2 ? atoi(arguments[1]) : 0;
    if (port < 1 || port > UINT16_MAX) return fputs("usage: floor PORT\n", stderr), 2;
    epoll = epoll_create1(0);
    int listener = listen_on((uint16_t)port);
    if (listener < 0) return perror("floor"), 1;
    for (;;) turn(listener);
}
