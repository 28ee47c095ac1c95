//! The tables of extents and clusters, and the exposure beside them.

use super::{Read, Reader, Writer};
use crate::evidence::table::{CLUSTERS, Cluster, EXTENTS, Epoch, Extent, Table};

impl Writer {
    fn table(&mut self, t: &Table) {
        self.list(&t.extents, |w, e| [e.lo, e.hi, e.count].into_iter().for_each(|x| w.float(x)));
        self.list(&t.clusters, |w, c| [c.lo, c.count].into_iter().for_each(|x| w.float(x)));
        self.option(t.open, |w, (bin, lo)| {
            w.signed(bin);
            w.float(lo);
        });
        if !t.is_empty() {
            self.signed(t.today.0);
            self.number(u64::from(t.today.1));
            self.float(t.squares);
        }
    }

    pub(super) fn epoch(&mut self, e: &Epoch) {
        e.tables.iter().for_each(|t| self.table(t));
        e.exposure.iter().for_each(|x| self.double(*x));
        self.double(e.periods);
    }
}

impl Reader<'_> {
    fn table(&mut self) -> Read<Table> {
        let mut t = Table {
            extents: self.list(EXTENTS, "extents", Reader::extent)?,
            clusters: self.list(CLUSTERS, "clusters", |r| Ok(Cluster { lo: r.finite()?, count: r.finite()? }))?,
            open: self.option(|r| Ok((r.signed()?, r.finite()?)))?,
            today: (0, 0),
            squares: 0.0,
        };
        if !t.is_empty() {
            // Before, nobody counted by days: each is taken for one that comes for itself. None has more than a day holds,
            // but for what decayed since it was counted.
            let all = t.clusters_from(0.0) as f32;
            (t.today, t.squares) = self.since(5, ((0, 0), all), |r| {
                Ok(((r.signed()?, r.small()?.min(48)), r.finite()?.min(96.0 * all).max(0.0)))
            })?;
        }
        t.extents.sort_by(|a, b| a.lo.total_cmp(&b.lo).then(a.hi.total_cmp(&b.hi)));
        t.clusters.sort_by(|a, b| a.lo.total_cmp(&b.lo));
        Ok(t)
    }

    /// Fits take the logarithm of both ends and of what lies between them.
    fn extent(&mut self) -> Read<Extent> {
        let e = Extent { lo: self.finite()?, hi: self.float()?, count: self.finite()? };
        if e.lo > 0.0 && e.lo < e.hi { Ok(e) } else { Err(self.damaged("an interval above zero, its ends in order")) }
    }

    pub(super) fn epoch(&mut self) -> Read<Epoch> {
        let mut e = Epoch::default();
        for t in &mut e.tables {
            *t = self.table()?;
        }
        for x in &mut e.exposure {
            *x = self.double()?;
        }
        e.periods = self.double()?;
        Ok(e)
    }
}
