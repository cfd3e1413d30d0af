/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending: counters of losses, the share of the ring that each account may hold, and the
 * choice when to wake the reader.
 *
 * Why: a user who execs as fast as possible must not fill the ring, or the execs of all
 * others would be lost. docs/ring.md has the rules as the user of execaudit sees them.
 *
 * Uses: maps.h (events, losses, account_losses, account_slots, quotas, unwoken), and the
 * ring's constants in kernel.h.
 */

/* Adds one to a member of this CPU's losses. The addition is atomic, because one hook may
 * interrupt another. The macro calls a function because BCC does not look for maps in macros. */
#define COUNT_LOSS(member) count_loss(__builtin_offsetof(struct ea_loss, member))

static __always_inline void count_loss(u32 offset)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct ea_loss *loss = losses.lookup(&cpu);

	if (loss)
		__sync_fetch_and_add((u64 *)((u64)loss + offset), 1);
}

/* The share of the free bytes that an account may hold, in halves, and the reserve that must
 * stay free for others: see has_room(). The shares rise in the order of what may be lost first:
 * failed execs, because a user can make any number of them at no cost; further pieces of a long
 * command line, because the exec itself is in the history without them; execs; and last the ends
 * of programs, so that each exec gets its end. */
#define EA_ASK_BYTES      (EA_RING_BYTES / 8) /* bytes in use from which accounts have bounds */
#define EA_ROOT_WEIGHT    2 /* root runs the host's own programs: a double share, and no reserve */
#define EA_FAILED_SHARE   1
#define EA_FAILED_RESERVE (EA_RING_BYTES / 4)
#define EA_MORE_SHARE     2
#define EA_MORE_RESERVE   (EA_RING_BYTES / 8)
#define EA_EXEC_SHARE     3
#define EA_EXIT_SHARE     4
#define EA_PROBES 4 /* elements to try for the losses of an account */

/* Returns ea_exec.account: the real uid, or the owner of the outermost user namespace. The numbers
 * are those of the initial namespace. The owner of a namespace chooses the numbers inside it, and
 * could be many users there. */
static __always_inline u32 account_of(u64 cred)
{
	u64 ns = 0;
	u32 uid = 0, owner = 0;
	s32 level = 0;

	KERNEL_READ(uid, cred, EA_OFF(cred, uid));
	KERNEL_READ(ns, cred, EA_OFF(cred, user_ns));
	KERNEL_READ(level, ns, EA_OFF(user_namespace, level));
	if (!level)
		return uid;
	for (int i = 0; i < EA_USER_NAMESPACES && level > 1; i++) {
		KERNEL_READ(ns, ns, EA_OFF(user_namespace, parent));
		KERNEL_READ(level, ns, EA_OFF(user_namespace, level));
	}
	KERNEL_READ(owner, ns, EA_OFF(user_namespace, owner));
	return owner ? owner : uid;
}

static __always_inline u32 weight_of(u32 account)
{
	return account ? 1 : EA_ROOT_WEIGHT;
}

/* Adds one to a loss of an account, and then to the total. If other accounts have all EA_PROBES
 * elements that this one may use, the loss is counted in the total only. */
static __always_inline void count_account_loss(u32 account, u32 member, u32 total_member)
{
	u32 slot = account & (EA_ACCOUNTS - 1);

	for (int i = 0; i < EA_PROBES; i++) {
		struct ea_account_loss *loss;
		u32 *owner = account_slots.lookup(&slot);

		if (!owner) {
			account_slots.insert(&slot, &account);
			owner = account_slots.lookup(&slot);
		}
		if (owner && *owner == account) {
			loss = account_losses.lookup(&slot);
			if (loss) {
				loss->account = account;
				loss->used = 1;
				__sync_fetch_and_add((u64 *)((u64)loss + member), 1);
			}
			break;
		}
		slot = (slot + 1) & (EA_ACCOUNTS - 1);
	}
	count_loss(total_member);
}

#define COUNT_ACCOUNT_LOSS(account, member)                                              \
	count_account_loss(account, __builtin_offsetof(struct ea_account_loss, member),  \
			   __builtin_offsetof(struct ea_loss, member))

/* BCC has no method for bpf_ringbuf_query(), and a map can be passed to a helper only by a method.
 * BCC translates events.ringbuf_reserve(what) into bpf_ringbuf_reserve(map, what, 0); then the
 * compiler replaces that by this macro. The probe never reserves anything, so nothing else is hit. */
#define bpf_ringbuf_reserve(map, what, flags) bpf_ringbuf_query(map, what)

static __always_inline u64 ring_query(u64 what)
{
	return (u64)events.ringbuf_reserve(what);
}

/* Returns whether n bytes of an account may go into the ring. An account may hold its share times
 * the bytes that are free. So the more accounts want everything, the less each of them gets, and
 * something stays free for an account that wants little (Choudhury and Hahne, Dynamic Queue Length
 * Thresholds, 1998). With the share of successful execs, one user gets 3/5 of the ring, two get 3/8
 * each, three 3/11 each.
 *
 * While less than an eighth of the ring is in use, nearly always, everything is sent and nothing
 * is counted for an account.
 *
 * The probe does not know exactly how many bytes of an account are still in the ring. When the
 * reader has passed `begin`, `held` moves to `before` and starts again at 0; if the reader has passed
 * all that the account sent, `before` becomes 0. So the estimate may be too high, never too low. */
static __always_inline int has_room(u32 account, u32 weight, u32 n, u32 share, u32 reserve)
{
	u64 used = ring_query(EA_RB_AVAIL_DATA), sent, taken;
	s64 room = EA_RING_BYTES - used;
	struct ea_quota *quota, fresh = {};

	if (used < EA_ASK_BYTES)
		return 1;
	if (room < (s64)n + (s64)reserve * (EA_ROOT_WEIGHT - weight))
		return 0;
	sent = ring_query(EA_RB_PROD_POS);
	taken = sent - used;
	quota = quotas.lookup(&account);
	if (!quota) {
		fresh.begin = fresh.end = sent;
		quotas.update(&account, &fresh);
		return 1;
	}
	if (quota->begin <= taken) {
		/* All ones if some of it is still in the ring, else 0. Not an `if`: the verifier would
		 * have to follow both branches. */
		u64 some = (u64)((s64)(taken - quota->end) >> 63);

		quota->before = quota->held & some;
		quota->held = 0;
		quota->begin = sent;
	}
	if ((quota->before + quota->held + n) * 2 > (u64)room * share * weight)
		return 0;
	__sync_fetch_and_add(&quota->held, n);
	quota->end = sent + n;
	return 1;
}

/* Returns the flags for sending n bytes. The reader looks ten times a second (twice when nothing
 * happens), and is woken earlier only when a CPU has written EA_WAKE_BYTES. A wake-up for each exec
 * would switch the CPU to the reader and back each time; that made the host a fifth slower. */
static __always_inline u64 wake_for(u32 n)
{
	u32 zero = 0;
	u64 *since = unwoken.lookup(&zero);

	if (!since)
		return EA_RB_NO_WAKEUP;
	*since += n;
	if (*since < EA_WAKE_BYTES)
		return EA_RB_NO_WAKEUP;
	*since = 0;
	return EA_RB_FORCE_WAKEUP;
}

/* Sends the first n bytes of raw, if its account has room. Returns 0, or a negative number. */
static __always_inline int send(struct ea_state *s, u32 n, u32 share, u32 reserve)
{
	if (n > EA_RAW || !has_room(s->account, s->weight, n + EA_RB_HEAD, share, reserve))
		return -1;
	return events.ringbuf_output(s, n, wake_for(n));
}

static __always_inline int send_first(struct ea_state *s, u32 share, u32 reserve)
{
	if (send(s, s->pos, share, reserve) < 0) {
		COUNT_ACCOUNT_LOSS(s->account, execs);
		return -1;
	}
	s->sent = 1;
	return 0;
}

static __always_inline int send_more(struct ea_state *s, u32 n, u32 share, u32 reserve)
{
	if (send(s, n, share, reserve) < 0) {
		COUNT_LOSS(records);
		return -1;
	}
	return 0;
}
