//! Days and months as the periods of partitions.

use time::{Date, Duration, Month};

/// The time that a partition covers, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A day.
    Day,
    /// A calendar month.
    Month,
}

impl Period {
    /// The first day of the period that `day` is in.
    pub(super) fn first(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Month => day - Duration::days(i64::from(day.day()) - 1),
        }
    }

    /// The first day of the next period.
    pub(super) fn next(self, first: Date) -> Date {
        match self {
            Self::Day => first + Duration::DAY,
            // Every month ends within 31 days, and none before 28.
            Self::Month => self.first(self.first(first) + Duration::days(31)),
        }
    }

    /// The end of the name of its partition: `20261128` or `202611`.
    pub(super) fn suffix(self, first: Date) -> String {
        let (year, month, day) = first.to_calendar_date();
        match self {
            Self::Day => format!("{year:04}{:02}{day:02}", u8::from(month)),
            Self::Month => format!("{year:04}{:02}", u8::from(month)),
        }
    }

    /// The reverse of [`Self::suffix`]. `None` if the text is not a suffix.
    pub(super) fn parse(self, suffix: &str) -> Option<Date> {
        let day = match self {
            Self::Day => suffix.get(6..)?.parse().ok()?,
            Self::Month => 1,
        };
        let month = Month::try_from(suffix.get(4..6)?.parse::<u8>().ok()?).ok()?;
        let first = Date::from_calendar_date(suffix.get(..4)?.parse().ok()?, month, day).ok()?;
        (self.suffix(first) == suffix).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn periods_follow_each_other_without_gaps() {
        let next = |period: Period, day| period.next(period.first(day));
        assert_eq!(next(Period::Day, date!(2026 - 12 - 31)), date!(2027 - 01 - 01));
        for (day, following) in [
            (date!(2026 - 12 - 31), date!(2027 - 01 - 01)),
            (date!(2027 - 01 - 31), date!(2027 - 02 - 01)),
            (date!(2028 - 02 - 29), date!(2028 - 03 - 01)),
            (date!(2027 - 02 - 01), date!(2027 - 03 - 01)),
        ] {
            assert_eq!(next(Period::Month, day), following, "{day}");
        }
    }

    #[test]
    fn suffix_is_read_back_and_nothing_else_is_one() {
        for (period, first, suffix) in [
            (Period::Day, date!(2026 - 11 - 28), "20261128"),
            (Period::Month, date!(2026 - 11 - 01), "202611"),
        ] {
            assert_eq!((period.suffix(first).as_str(), period.parse(suffix)), (suffix, Some(first)));
        }
        for other in ["default", "", "2026112", "20261131", "+0261128", "202611281", "2026é128"] {
            assert_eq!((Period::Day.parse(other), Period::Month.parse(other)), (None, None), "{other}");
        }
    }
}
