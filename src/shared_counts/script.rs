//! The leaky bucket, as Redis counts it: one script, one round trip, all limits of a request.
//!
//! ```text
//! EVALSHA sha n KEYS… (amount period burst refuses)… ──► [0, excess…]: counted      [nth, excess]: refused, nothing counted
//! ```
//!
//! The arithmetic is that of `snapshot::limit::leak`, to the thousandth. Redis' own clock counts, so that those of the
//! processes need not agree. A key lives until its bucket has leaked empty: then none is as good as one.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind};

use super::{Beyond, Bucket, Counted};

/// Lua's numbers are exact up to 2⁵³: what is more has leaked from any bucket.
const SOURCE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local excesses, lasts = {}, {}
for nth, key in ipairs(KEYS) do
  local at = (nth - 1) * 4
  local amount, period, burst = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local kept = redis.call('GET', key)
  local excess, last = 0, now
  if kept then
    local before, when = string.match(kept, '^(%d+) (%d+)$')
    if before then
      last = tonumber(when)
      excess = math.max(0, tonumber(before) + 1000 - math.floor(amount * math.max(0, now - last) / period))
      last = math.max(last, now)
    end
  end
  if excess > burst and ARGV[at + 4] == '1' then
    return { nth, excess }
  end
  excesses[nth], lasts[nth] = excess, last
end
local answer = { 0 }
for nth, key in ipairs(KEYS) do
  local at = (nth - 1) * 4
  local excess, last = excesses[nth], lasts[nth]
  if excess <= tonumber(ARGV[at + 3]) then
    local empty = last - now + math.ceil((excess + 1000) * ARGV[at + 2] / ARGV[at + 1])
    redis.call('SET', key, string.format('%.0f %.0f', excess, last), 'PX', string.format('%.0f', math.max(1, empty)))
  end
  answer[nth + 1] = excess
end
return answer
";

static SHA1: LazyLock<String> = LazyLock::new(|| {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, SOURCE.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
});

pub(super) async fn run(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    buckets: &[Bucket],
) -> RedisResult<Counted> {
    let answer = match command("EVALSHA", &SHA1, prefix, buckets).query_async(connection).await {
        // It knows the script from then on.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            command("EVAL", SOURCE, prefix, buckets).query_async(connection).await?
        }
        answer => answer?,
    };
    read(answer, buckets.len())
}

fn command(name: &str, script: &str, prefix: &str, buckets: &[Bucket]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(buckets.len());
    for bucket in buckets {
        command.arg(format!("{prefix}{}", bucket.key));
    }
    for bucket in buckets {
        let refuses = match bucket.beyond {
            Beyond::Refused => 1,
            Beyond::Noted => 0,
        };
        command.arg(bucket.amount).arg(bucket.period).arg(bucket.burst).arg(refuses);
    }
    command
}

fn read(answer: Vec<u64>, buckets: usize) -> RedisResult<Counted> {
    let excess = |number: &u64| u32::try_from(*number).unwrap_or(u32::MAX);
    match answer.as_slice() {
        [0, excesses @ ..] if excesses.len() == buckets => Ok(Counted::Passed(excesses.iter().map(excess).collect())),
        [nth, found] if (1..=buckets as u64).contains(nth) => {
            Ok(Counted::Refused { nth: *nth as usize - 1, excess: excess(found) })
        }
        _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "the script's answer is none of its own"))),
    }
}
