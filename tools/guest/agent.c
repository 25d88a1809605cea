/*
 * The guest's only program: makes system calls for a client outside and sends back the answers.
 *
 * It is the kernel's init, needs no C library, and knows nothing of BPF: a frame from the client
 * holds calls, each with its number, its arguments and the memory that the arguments point to (see
 * wire.py for the layout). A worker process serves one client; when the client goes or another one
 * says hello, the worker ends, and with it everything that client had open. What the worker leaves
 * behind (pins, links to nobody) dies with the guest.
 *
 * Memory of a call ends where the next page is not mapped, so that a call which reads more than the
 * client has gets EFAULT here as it would there.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;

enum { READ = 0, WRITE = 1, OPEN = 2, POLL = 7, MMAP = 9, MPROTECT = 10, MADVISE = 28,
       NANOSLEEP = 35, FORK = 57, EXIT = 60, WAIT4 = 61, MKDIR = 83, MOUNT = 165 };
enum { PAGE = 4096, EINTR = 4, ECHILD = 10, NOT_NEEDED = 4, NO_HUGE_PAGES = 15 };
enum { MAGIC = 0x3f667062, HELLO = 1, CALLS = 2, DIED = 3, VERSION = 1 };
enum { VALUE = 0, SEGMENT = 1, RESULT = 2 };              /* kinds of arguments and patches */
enum { SENT = 1, ANSWERED = 2, STRING = 4, COUNTED = 8 }; /* flags of a segment */
enum { SLOTS = 64, MAX_SEGMENTS = 4096, MAX_CALLS = 65536, NEXT_CLIENT = 7 };

#define BOX (256UL << 20)                                  /* of one frame, either way */
#define AREA (1UL << 30)                                   /* of one frame's larger segments */

struct head { u32 magic, kind; u64 length, nonce; };
struct argument { u32 kind, unused; u64 value; };
struct call { u32 number, segments, patches, unused; struct argument arguments[6]; };
struct segment { u64 size; u32 flags, unused; };
struct patch { u32 segment, kind; u64 offset, value; };

static int port;
static u8 *inbox, *outbox, *slots, *area;
static u64 written, area_used;
static u32 slots_used;
static u8 *where[MAX_SEGMENTS];
static s64 results[MAX_CALLS];
static struct head *head;                                  /* shared by all workers */
static u64 *pending;                                       /* *head is to be served yet */

/* -- without a C library */

static s64 call6(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;
	s64 answer;

	__asm__ volatile("syscall" : "=a"(answer)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return answer;
}

#define CALL(n, a, b, c) call6(n, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)

void *memcpy(void *to, const void *from, u64 size)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return start;
}

void *memset(void *to, int value, u64 size)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
	return start;
}

static u64 length_of(const char *text)
{
	u64 size = 0;

	while (text[size])
		size++;
	return size;
}

static void say(const char *text)
{
	CALL(WRITE, 1, text, length_of(text));
}

static void leave(int status)
{
	for (;;)
		CALL(EXIT, status, 0, 0);
}

static void leave_saying(const char *text)
{
	say(text);
	leave(1);
}

static void rest(u64 nanoseconds)
{
	u64 time[2] = { 0, nanoseconds };

	CALL(NANOSLEEP, time, 0, 0);
}

/* private (or, for workers, shared) memory that costs nothing until it is touched */
static void *reserve(u64 size, int protection, int shared)
{
	s64 at = call6(MMAP, 0, size, protection, (shared ? 0x21 : 0x22) | 0x4000, -1UL, 0);

	if (at < 0 && at > -4096)
		leave_saying("agent: no memory\n");
	CALL(MADVISE, at, size, NO_HUGE_PAGES);
	return (void *)at;
}

/* -- the port */

static void receive(void *to, u64 size)
{
	u8 *at = to;

	while (size) {
		s64 got = CALL(READ, port, at, size);

		if (got == -EINTR)
			continue;
		if (got <= 0)                              /* the client has gone */
			leave(0);
		at += got;
		size -= got;
	}
}

static void transmit(const void *from, u64 size)
{
	const u8 *at = from;

	while (size) {
		s64 sent = CALL(WRITE, port, at, size > 65536 ? 65536 : size);

		if (sent == -EINTR)
			continue;
		if (sent <= 0)
			leave(0);
		at += sent;
		size -= sent;
	}
}

static void transmit_head(u32 kind, u64 length, u64 nonce)
{
	struct head answer = { MAGIC, kind, length, nonce };

	transmit(&answer, sizeof(answer));
}

/* -- one frame */

/* room for one segment, zeros, which ends where the next page is not mapped; 0: no more room */
static u8 *place(u64 size)
{
	u64 pages = (size + PAGE - 1) & ~(u64)(PAGE - 1);
	u8 *end;

	if (size <= PAGE && slots_used < SLOTS) {
		end = slots + (2 * slots_used++ + 1) * PAGE;
	} else {
		if (size > AREA || area_used + pages + PAGE > AREA)
			return 0;
		end = area + area_used + pages;
		if (CALL(MPROTECT, area + area_used, pages, 3))
			return 0;
		area_used += pages + PAGE;
		return end - size;
	}
	memset(end - size, 0, size);
	return end - size;
}

/* give back what the larger segments took */
static void clear_area(void)
{
	if (area_used) {
		CALL(MADVISE, area, area_used, NOT_NEEDED);
		CALL(MPROTECT, area, area_used, 0);
	}
	area_used = 0;
	slots_used = 0;
}

static void put(const void *from, u64 size)
{
	if (size > BOX - written)
		leave_saying("agent: answer too long\n");
	memcpy(outbox + written, from, size);
	written += size;
}

static void patch(const struct patch *p)
{
	if (p->kind == RESULT)
		*(u32 *)(where[p->segment] + p->offset) = results[p->value];
	else
		*(u64 *)(where[p->segment] + p->offset) = (u64)where[p->value];
}

static u64 argument(const struct argument *a)
{
	switch (a->kind) {
	case SEGMENT:
		return (u64)where[a->value];
	case RESULT:
		return results[a->value];
	}
	return a->value;
}

static void answer_segment(const struct segment *s, const u8 *at, s64 answer)
{
	u64 size = s->size;

	if (s->flags & COUNTED && answer < (s64)size)
		size = answer < 0 ? 0 : answer;

	if (s->flags & STRING) {
		for (size = 0; size < s->size && at[size]; size++)
			;
		size += size < s->size;
	}
	put(&size, sizeof(size));
	put(at, size);
}

/* serve the call at `at`; returns what follows it */
static const u8 *serve_call(const u8 *at, u32 index)
{
	const struct call *call = (const void *)at;
	const struct segment *segments = (const void *)(call + 1);
	const struct patch *patches = (const void *)(segments + call->segments);
	s64 answer = 0;
	u32 i;

	at = (const u8 *)(patches + call->patches);
	if (call->segments > MAX_SEGMENTS)
		leave_saying("agent: too many segments\n");
	for (i = 0; i < call->segments; i++) {
		where[i] = place(segments[i].size);
		if (!where[i])
			leave_saying("agent: no room for a segment\n");
		if (segments[i].flags & SENT) {
			memcpy(where[i], at, segments[i].size);
			at += (segments[i].size + 7) & ~7UL;
		}
	}
	for (i = 0; i < call->patches; i++)
		patch(&patches[i]);
	answer = call6(call->number, argument(&call->arguments[0]), argument(&call->arguments[1]),
		       argument(&call->arguments[2]), argument(&call->arguments[3]),
		       argument(&call->arguments[4]), argument(&call->arguments[5]));
	results[index] = answer;
	put(&answer, sizeof(answer));
	for (i = 0; i < call->segments; i++)
		if (segments[i].flags & ANSWERED)
			answer_segment(&segments[i], where[i], answer);
	return at;
}

static void serve_calls(void)
{
	const u8 *at = inbox + sizeof(u64);
	u64 count = *(u64 *)inbox, i;

	if (count > MAX_CALLS)
		leave_saying("agent: too many calls\n");
	written = sizeof(*head);
	for (i = 0; i < count; i++)
		at = serve_call(at, i);
	*(struct head *)outbox = (struct head){ MAGIC, CALLS, written - sizeof(*head),
						head->nonce };
	transmit(outbox, written);
	clear_area();
	if (written > (1 << 20))
		CALL(MADVISE, outbox, written, NOT_NEEDED);
}

static void serve(void)
{
	for (u64 frames = 0;; frames++) {
		if (!*pending)
			receive(head, sizeof(*head));
		*pending = 0;
		if (head->magic != MAGIC || head->length > BOX)
			leave_saying("agent: not a frame\n");
		if (head->kind == HELLO && frames) {       /* for a fresh worker */
			*pending = 1;
			leave(NEXT_CLIENT);
		}
		receive(inbox, head->length);
		if (head->kind == HELLO)
			transmit_head(HELLO, 0, head->nonce + VERSION);
		else
			serve_calls();
	}
}

/* -- the guest */

static const struct { const char *source, *target, *type; } mounts[] = {
	{ "dev", "/dev", "devtmpfs" },
	{ "proc", "/proc", "proc" },
	{ "sys", "/sys", "sysfs" },
	{ "bpf", "/sys/fs/bpf", "bpf" },
	{ "cgroup", "/sys/fs/cgroup", "cgroup2" },
	{ "debug", "/sys/kernel/debug", "debugfs" },
	{ "tracing", "/sys/kernel/tracing", "tracefs" },
	{ "security", "/sys/kernel/security", "securityfs" },
	{ "tmp", "/tmp", "tmpfs" },
};

static void mount_all(void)
{
	for (u32 i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		CALL(MKDIR, mounts[i].target, 0755, 0);
		call6(MOUNT, (u64)mounts[i].source, (u64)mounts[i].target, (u64)mounts[i].type,
		      0, 0, 0);
	}
}

/* the port appears when its driver has found it */
static void open_port(void)
{
	for (u32 tries = 0; tries < 3000; tries++) {
		port = CALL(OPEN, "/dev/vport0p1", 02000002, 0);
		if (port >= 0)
			return;
		rest(10000000);
	}
	leave_saying("agent: no port\n");
}

/* a vport without a client reads as ended */
static void wait_for_client(void)
{
	struct { int fd; short events, found; } it = { port, 1, 0 };

	while (!*pending) {
		it.found = 0;
		CALL(POLL, &it, 1, 1000);
		if ((it.found & 1) && !(it.found & 0x10))
			return;
		rest(20000000);
	}
}

/* make the boxes, and one page in two of `slots` writable */
static void make_room(void)
{
	inbox = reserve(BOX, 3, 0);
	outbox = reserve(BOX, 3, 0);
	area = reserve(AREA, 0, 0);
	slots = reserve(2 * SLOTS * PAGE, 0, 0);
	for (u32 i = 0; i < SLOTS; i++)
		CALL(MPROTECT, slots + 2 * i * PAGE, PAGE, 3);
}

static void run_worker(void)
{
	int status = 0;
	s64 child = CALL(FORK, 0, 0, 0), ended;

	if (child == 0) {
		make_room();
		serve();
	}
	do {
		ended = call6(WAIT4, -1UL, (u64)&status, 0, 0, 0, 0);
	} while (ended != child && ended != -ECHILD);
	if (status && status != NEXT_CLIENT << 8)
		transmit_head(DIED, 0, head->nonce);
}

void start(void)
{
	u8 *shared = reserve(PAGE, 3, 1);

	head = (void *)shared;
	pending = (u64 *)(shared + 64);
	mount_all();
	open_port();
	say("agent: ready\n");
	for (;;) {
		wait_for_client();
		run_worker();
	}
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall start\n\thlt\n");
