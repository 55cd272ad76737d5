//! The subscribers of a topic in the order of how much they have, while some give and others take.
//!
//! ```text
//! partitions            ┌──┐       those with most, from the right: each gives one,
//!                ┌──┬──┐│  │       then the level sinks and takes in whoever is as high
//!          ┌──┬──┘  │  ││  │
//!          │  │  │  │  ││  │       those with least, from the left: each takes one,
//!          └──┴──┴──┴──┴┴──┘       then the level rises and takes in whoever is as low
//!           members
//! ```

/// A pair of levels that come nearer to each other.
pub(super) struct Levels {
    /// Members by how much they had at the beginning, then by position; those that have nothing more
    /// to give are moved behind `high_end`.
    order: Vec<usize>,
    low_end: usize,
    low_level: isize,
    low_next: usize,
    high_start: usize,
    high_end: usize,
    high_level: isize,
    /// One behind the next giver, so that it can be 0.
    high_next: usize,
}

impl Levels {
    /// The levels of `members`, of whom there must be one at least.
    pub(super) fn new(members: &[usize], sizes: &[usize]) -> Self {
        let mut order = members.to_vec();
        order.sort_by_key(|member| (sizes[*member], *member));
        let level = |member: Option<&usize>| member.map_or(0, |member| signed(sizes[*member]));
        let (low, high) = (level(order.first()), level(order.last()));
        let end = order.len();
        Self {
            order,
            low_end: 0,
            low_level: low - 1,
            low_next: 0,
            high_start: end,
            high_end: end,
            high_level: high + 1,
            high_next: end,
        }
    }

    /// How much more the first giver has than the first taker.
    pub(super) fn difference(&self, sizes: &[usize]) -> isize {
        match (self.order.first(), self.order.last()) {
            (Some(low), Some(high)) => signed(sizes[*high]) - signed(sizes[*low]),
            _ => 0,
        }
    }

    /// Whether the next move would not make anything more even.
    pub(super) const fn is_even(&self) -> bool {
        self.high_level - self.low_level <= 1
    }

    /// Who takes next.
    pub(super) fn next_lowest(&mut self, sizes: &[usize]) -> usize {
        if self.low_next >= self.low_end {
            self.low_level += 1;
            while self.low_end < self.order.len()
                && signed(sizes[self.order[self.low_end]]) == self.low_level
            {
                self.low_end += 1;
            }
            self.low_next = 0;
        }
        let member = self.order[self.low_next];
        self.low_next += 1;
        member
    }

    /// Who gives next; `None` when nobody has anything left.
    pub(super) fn next_highest(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.high_next <= self.high_start {
            if self.high_end <= self.high_start && self.high_start > 0 {
                // All of this level were excluded: go on with the next there is.
                self.high_level = signed(sizes[self.order[self.high_start - 1]]);
            } else {
                self.high_level -= 1;
            }
            while self.high_start > 0
                && signed(sizes[self.order[self.high_start - 1]]) == self.high_level
            {
                self.high_start -= 1;
            }
            self.high_next = self.high_end;
        }
        self.high_next = self.high_next.checked_sub(1)?;
        self.order.get(self.high_next).copied()
    }

    /// The last giver has nothing to give.
    pub(super) fn exclude_highest(&mut self) {
        if self.high_end > 0 {
            self.high_end -= 1;
            self.order.swap(self.high_next, self.high_end);
        }
    }
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}
