//! When a limit is lifted, where an agent says so in words: `try again at 10:30 PM`.

use std::time::Duration;

use crate::clock::Timestamp;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns the moment that `message` names after `try again at`: `10:30 PM`, the next one after
/// `now`, or `Nov 25th, 2026 10:30 PM`, on a clock that is `ahead` of UTC by so many minutes. None
/// where it names none.
pub(super) fn named_in(message: &str, now: Timestamp, ahead: i64) -> Option<Timestamp> {
    let (_, rest) = message.split_once("try again at ")?;
    let words: Vec<&str> = rest.split_whitespace().take(5).collect();
    let at =
        |day: i64, minute: i64| Timestamp::from_unix_millis(day * DAY + (minute - ahead) * MINUTE);
    if let Some(minute) = minute_of_day(&words) {
        let local = now.unix_millis() + ahead * MINUTE;
        let today = local.div_euclid(DAY);
        // It names no seconds: within its own minute it is now.
        let is_over = today * DAY + minute * MINUTE + MINUTE <= local;
        return Some(at(today + i64::from(is_over), minute));
    }
    let [month, day, year, time @ ..] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? as i64 + 1;
    let day = day.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    let year: i64 = year.trim_end_matches(',').parse().ok()?;
    let plausible = (1..=31).contains(&day) && (2000..3000).contains(&year);
    plausible.then(|| Some(at(days_since_1970(year, month, day), minute_of_day(time)?)))?
}

/// Returns the moment that lies as many seconds after `now` as `message` names after `before`:
/// `Suggested retry after 2s`.
pub(super) fn seconds_in(message: &str, before: &str, now: Timestamp) -> Option<Timestamp> {
    let (_, rest) = message.split_once(before)?;
    let number = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let seconds: f64 = number.parse().ok()?;
    Some(now.plus(Duration::try_from_secs_f64(seconds).ok()?))
}

/// Reads `10:30 PM`.
fn minute_of_day(words: &[&str]) -> Option<i64> {
    let [time, half, ..] = words else { return None };
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let noon = match half.trim_end_matches('.') {
        "AM" => 0,
        "PM" => 12,
        _ => return None,
    };
    let fits = (1..=12).contains(&hour) && (0..60).contains(&minute);
    fits.then_some((hour % 12 + noon) * 60 + minute)
}

/// Counts the days of the Gregorian calendar, whose years begin in March here: February is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(message: &str, now: &str, ahead: i64, expected: Option<&str>) {
        let now = now.parse().unwrap();
        let expected = expected.map(|at| at.parse().unwrap());
        assert_eq!(named_in(message, now, ahead), expected, "{message}");
    }

    const NOW: &str = "2026-11-20T22:29:30Z";

    #[test]
    fn a_time_without_a_date_is_the_next_one() {
        let say =
            |time: &str| format!("You’ve hit your usage limit. Visit x or try again at {time}.");
        check(&say("10:41 PM"), NOW, 0, Some("2026-11-20T22:41:00Z"));
        check(&say("12:05 AM"), NOW, 0, Some("2026-11-21T00:05:00Z"));
        check(&say("12:05 PM"), NOW, 0, Some("2026-11-21T12:05:00Z"));
    }

    #[test]
    fn the_minute_that_it_is_names_no_other_day() {
        check("try again at 10:29 PM.", NOW, 0, Some("2026-11-20T22:29:00Z"));
        check("try again at 10:28 PM.", NOW, 0, Some("2026-11-21T22:28:00Z"));
    }

    #[test]
    fn the_clock_may_be_another_zones() {
        check("try again at 12:41 AM.", NOW, 120, Some("2026-11-20T22:41:00Z"));
        check("try again at 5:41 PM.", NOW, -300, Some("2026-11-20T22:41:00Z"));
    }

    #[test]
    fn a_date_may_stand_before_it() {
        let (date, at) = ("try again at Nov 25th, 2026 10:30 PM.", "2026-11-25T22:30:00Z");
        check(date, NOW, 0, Some(at));
        check("try again at Mar 1st, 2028 1:00 AM", NOW, 60, Some("2028-03-01T00:00:00Z"));
    }

    #[test]
    fn what_names_no_time_is_none() {
        for text in [
            "",
            "try again at noon",
            "try again at 25:00 PM",
            "try again at Foo 1, 2026 1:00 AM",
            "try again later",
        ] {
            check(text, NOW, 0, None);
        }
    }

    #[test]
    fn seconds_count_from_now() {
        let now = Timestamp::from_unix_millis(0);
        let seconds =
            |text| seconds_in(text, "Suggested retry after ", now).map(Timestamp::unix_millis);
        assert_eq!(seconds("x\nSuggested retry after 2s.]"), Some(2_000));
        assert_eq!(seconds("Suggested retry after soon"), None);
    }

    proptest! {
        #[test]
        fn the_next_time_is_within_a_day(now in 0i64..4_000_000_000, hour in 1i64..=12, minute in 0i64..60) {
            let now = Timestamp::from_unix_millis(now * 1_000);
            let at = named_in(&format!("try again at {hour}:{minute:02} AM"), now, 0).unwrap();
            let away = at.unix_millis() - now.unix_millis();
            prop_assert!((-MINUTE..DAY).contains(&away));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "try again at .{0,40}") {
            named_in(&text, Timestamp::from_unix_millis(0), 0);
            seconds_in(&text, "at ", Timestamp::from_unix_millis(0));
        }
    }
}
