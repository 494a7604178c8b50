//! Bindings of ITA calls: A and B reach each other by calling X, and see X. In memory over the store.
//!
//! # Invariants
//! - X and a caller name one other party: no number has two live bindings with the same X.
//! - A pair of parties has one live binding at the most.
//! - What is in memory is what is stored, or [`Held`] by a request whose call is being accepted: this process is the only
//!   one that changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use engine::vocabulary::TenantId;
use store::{NumberBinding, Store, StoreError};
use tokio::sync::{OwnedRwLockReadGuard, RwLock as Turns};

/// Bindings of all tenants, and of one: a tenant that binds without end takes nobody else's place.
const MAX_BINDINGS: usize = 1_000_000;
const MAX_OF_TENANT: usize = 100_000;
/// Those that are over are forgotten so many at a time: readers have their turn between.
const EXPIRED_AT_ONCE: usize = 1_000;

/// Cheap to clone; readers never wait for a database.
#[derive(Clone)]
pub struct NumberBindings(Arc<Inner>);

struct Inner {
    store: Store,
    all: RwLock<Index>,
    /// Changes that stand alone, one at a time and while none is held, so that memory and store agree.
    changing: Arc<Turns<()>>,
}

#[derive(Default)]
struct Index {
    /// By X and party, so twice each.
    by_number: BTreeMap<(String, String), NumberBinding>,
    /// X by tenant and parties, the lesser first.
    by_pair: BTreeMap<PairKey, String>,
    /// By the end, then X and party A.
    by_end: BTreeSet<(i64, String, String)>,
    of_tenant: BTreeMap<TenantId, usize>,
    /// By tenant and parties, as `by_pair`.
    held: BTreeMap<PairKey, Holding>,
}

type PairKey = (TenantId, String, String);

/// Requests whose calls are being accepted with the binding of one pair.
struct Holding {
    requests: u32,
    /// The end that is on disk; `None`: it is not there.
    stored: Option<i64>,
}

/// A binding that goes to disk with the call that needs it ([`Held::keep`]). Dropped, it is as if it had never been.
#[must_use = "a binding that is dropped is undone"]
pub struct Held {
    bindings: NumberBindings,
    binding: NumberBinding,
    _turn: OwnedRwLockReadGuard<()>,
}

/// Two parties who are to be bound.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub tenant: TenantId,
    pub a: &'a str,
    pub b: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("every virtual number is bound to one of the two parties already")]
    Exhausted,
    #[error(
        "there is no room for another binding: a tenant has {MAX_OF_TENANT} and the server \
         {MAX_BINDINGS} at the most; end some, or let them live shorter (ita.binding_lifetime_s)"
    )]
    Full,
    #[error(
        "the parties are bound to a number that is none of the tenant's virtual numbers any more; \
         end that binding or write the number again"
    )]
    Inconsistent,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NumberBindings {
    /// None yet.
    pub fn new(store: Store) -> NumberBindings {
        NumberBindings(Arc::new(Inner { store, all: RwLock::default(), changing: Arc::default() }))
    }

    /// Reads what the store holds that is not over.
    pub async fn load(&self, now_ms: i64) -> Result<(), StoreError> {
        let _changing = self.0.changing.write().await;
        let rows = self.0.store.number_bindings().await?;
        let live = rows.into_iter().filter(|row| row.expires_ms > now_ms);
        self.change(|all| live.for_each(|row| all.insert(row)));
        Ok(())
    }

    /// Whom a call to `x` from `from` is for.
    pub fn find(&self, x: &str, from: &str, now_ms: i64) -> Option<(TenantId, String)> {
        self.read(|all| {
            let binding = all.live(x, from, now_ms)?;
            let is_a = binding.party_a == from;
            let other = if is_a { &binding.party_b } else { &binding.party_a };
            Some((binding.tenant, other.clone()))
        })
    }

    /// The live binding of two parties, in either order.
    pub fn of_pair(&self, pair: Pair<'_>, now_ms: i64) -> Option<NumberBinding> {
        self.read(|all| all.of_pair(pair, now_ms).cloned())
    }

    /// Whether a live binding uses `number` as its virtual number.
    pub fn is_virtual(&self, number: &str, now_ms: i64) -> bool {
        self.read(|all| {
            let of_number = all.by_number.range((number.to_owned(), String::new())..);
            let mut of_number = of_number.take_while(|((x, _), _)| x == number);
            of_number.any(|(_, binding)| binding.expires_ms > now_ms)
        })
    }

    /// Those of a tenant that are live, by their numbers.
    pub fn of(&self, tenant: TenantId, now_ms: i64) -> Vec<NumberBinding> {
        self.read(|all| {
            let pairs = all.by_pair.range((tenant, String::new(), String::new())..);
            let pairs = pairs.take_while(|((of, _, _), _)| *of == tenant);
            let live = pairs.filter_map(|((_, a, _), x)| all.live(x, a, now_ms).cloned());
            live.collect()
        })
    }

    /// The pair's live binding, which then holds until `expires_ms` at the least; else a new one
    /// with the first number of `pool` that is bound to neither. On disk when this returns.
    pub async fn bind(
        &self,
        pair: Pair<'_>,
        pool: &[String],
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<NumberBinding, BindError> {
        let _changing = self.0.changing.write().await;
        let binding = self.read(|all| all.choose(pair, pool, expires_ms, now_ms))?;
        self.0.store.put_number_binding(binding.clone()).await?;
        self.change(|all| all.insert(binding.clone()));
        Ok(binding)
    }

    /// The same for a call that is not accepted yet: what it returns is in memory, and goes to disk with the call.
    pub async fn hold(
        &self,
        pair: Pair<'_>,
        pool: &[String],
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<Held, BindError> {
        let turn = Arc::clone(&self.0.changing).read_owned().await;
        let binding = self.change(|all| all.hold(pair, pool, expires_ms, now_ms))?;
        Ok(Held { bindings: self.clone(), binding, _turn: turn })
    }

    /// Whether the pair was bound. On disk when this returns.
    pub async fn end(&self, pair: Pair<'_>, now_ms: i64) -> Result<bool, StoreError> {
        let _changing = self.0.changing.write().await;
        let Some(binding) = self.of_pair(pair, now_ms) else { return Ok(false) };
        let removed = self.0.store.remove_number_binding(binding.clone()).await?;
        self.change(|all| all.remove(&binding));
        Ok(removed)
    }

    /// Forgets those that are over.
    pub async fn expire(&self, now_ms: i64) -> Result<(), StoreError> {
        let _changing = self.0.changing.write().await;
        self.0.store.expire_number_bindings(now_ms).await?;
        while self.change(|all| all.expire(now_ms, EXPIRED_AT_ONCE)) == EXPIRED_AT_ONCE {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn read<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        read(&self.0.all.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.0.all.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    pub fn binding(&self) -> &NumberBinding {
        &self.binding
    }

    /// It is on disk with its call.
    pub fn keep(self) {
        self.bindings.change(|all| all.is_stored(&self.binding));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bindings.change(|all| all.let_go(&self.binding));
    }
}

impl Index {
    /// The pair's live binding, made longer, or a new one.
    fn choose(
        &self,
        pair: Pair<'_>,
        pool: &[String],
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<NumberBinding, BindError> {
        match self.of_pair(pair, now_ms) {
            Some(found) if !pool.contains(&found.x) => Err(BindError::Inconsistent),
            Some(found) => {
                let expires_ms = expires_ms.max(found.expires_ms);
                Ok(NumberBinding { expires_ms, ..found.clone() })
            }
            None if !self.has_room(pair.tenant) => Err(BindError::Full),
            None => {
                let is_free = |x: &&String| {
                    self.live(x, pair.a, now_ms).is_none() && self.live(x, pair.b, now_ms).is_none()
                };
                let x = pool.iter().find(is_free).ok_or(BindError::Exhausted)?.clone();
                let Pair { tenant, a, b } = pair;
                Ok(NumberBinding { tenant, x, party_a: a.into(), party_b: b.into(), expires_ms })
            }
        }
    }

    fn of_pair(&self, pair: Pair<'_>, now_ms: i64) -> Option<&NumberBinding> {
        let x = self.by_pair.get(&pair.key())?;
        self.live(x, pair.a, now_ms)
    }

    fn hold(
        &mut self,
        pair: Pair<'_>,
        pool: &[String],
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<NumberBinding, BindError> {
        let binding = self.choose(pair, pool, expires_ms, now_ms)?;
        let stored = self.of_pair(pair, now_ms).map(|found| found.expires_ms);
        let first = || Holding { requests: 0, stored };
        self.held.entry(pair.key()).or_insert_with(first).requests += 1;
        self.insert(binding.clone());
        Ok(binding)
    }

    fn is_stored(&mut self, binding: &NumberBinding) {
        if let Some(holding) = self.held.get_mut(&key_of(binding)) {
            holding.stored = holding.stored.max(Some(binding.expires_ms));
        }
    }

    /// Where nobody holds it any more it is what is stored.
    fn let_go(&mut self, binding: &NumberBinding) {
        let key = key_of(binding);
        let Some(holding) = self.held.get_mut(&key) else { return };
        holding.requests -= 1;
        if holding.requests > 0 {
            return;
        }
        let stored = self.held.remove(&key).and_then(|holding| holding.stored);
        // It may have a later end by another request's doing, or be over and gone.
        let there = self.by_number.get(&(binding.x.clone(), binding.party_a.clone())).cloned();
        match there {
            Some(there) if key_of(&there) != key => return,
            Some(there) => self.remove(&there),
            None => {}
        }
        if let Some(expires_ms) = stored {
            self.insert(NumberBinding { expires_ms, ..binding.clone() });
        }
    }

    fn live(&self, x: &str, party: &str, now_ms: i64) -> Option<&NumberBinding> {
        let found = self.by_number.get(&(x.to_owned(), party.to_owned()));
        found.filter(|binding| binding.expires_ms > now_ms)
    }

    fn has_room(&self, tenant: TenantId) -> bool {
        let of_tenant = self.of_tenant.get(&tenant).copied().unwrap_or(0);
        of_tenant < MAX_OF_TENANT && self.by_end.len() < MAX_BINDINGS
    }

    /// How many of at most `most` were over and are forgotten.
    fn expire(&mut self, now_ms: i64, most: usize) -> usize {
        for forgotten in 0..most {
            let Some((_, x, party)) = self.by_end.first().filter(|(end, ..)| *end <= now_ms) else {
                return forgotten;
            };
            let over = self.by_number.get(&(x.clone(), party.clone())).cloned();
            self.remove(&over.expect("each binding stands in all four"));
        }
        most
    }

    /// What stood in its places is over.
    fn insert(&mut self, binding: NumberBinding) {
        for party in [&binding.party_a, &binding.party_b] {
            if let Some(over) = self.by_number.get(&(binding.x.clone(), party.clone())).cloned() {
                self.remove(&over);
            }
        }
        self.by_pair.insert(key_of(&binding), binding.x.clone());
        self.by_end.insert(end(&binding));
        *self.of_tenant.entry(binding.tenant).or_default() += 1;
        for party in [&binding.party_a, &binding.party_b] {
            self.by_number.insert((binding.x.clone(), party.clone()), binding.clone());
        }
    }

    fn remove(&mut self, binding: &NumberBinding) {
        let key = key_of(binding);
        if self.by_pair.get(&key) == Some(&binding.x) {
            self.by_pair.remove(&key);
        }
        self.by_end.remove(&end(binding));
        if let Some(count) = self.of_tenant.get_mut(&binding.tenant) {
            *count -= 1;
        }
        for party in [&binding.party_a, &binding.party_b] {
            self.by_number.remove(&(binding.x.clone(), party.clone()));
        }
    }
}

fn end(binding: &NumberBinding) -> (i64, String, String) {
    (binding.expires_ms, binding.x.clone(), binding.party_a.clone())
}

fn key_of(binding: &NumberBinding) -> PairKey {
    Pair { tenant: binding.tenant, a: &binding.party_a, b: &binding.party_b }.key()
}

impl Pair<'_> {
    fn key(&self) -> PairKey {
        let (first, second) = (self.a.min(self.b), self.a.max(self.b));
        (self.tenant, first.to_owned(), second.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId(1);
    const T0: i64 = 1_700_000_000_000;

    fn pair<'a>(a: &'a str, b: &'a str) -> Pair<'a> {
        Pair { tenant: TENANT, a, b }
    }

    fn pool(numbers: &[&str]) -> Vec<String> {
        numbers.iter().map(|&number| number.into()).collect()
    }

    #[tokio::test]
    async fn either_party_reaches_the_other_until_the_binding_is_over() {
        let bindings = NumberBindings::new(Store::memory());
        let bound = bindings.bind(pair("a", "b"), &pool(&["x"]), T0 + 60, T0).await.unwrap();
        assert_eq!(bound.x, "x");
        assert_eq!(bindings.find("x", "a", T0 + 59), Some((TENANT, "b".into())));
        assert_eq!(bindings.find("x", "b", T0 + 59), Some((TENANT, "a".into())));
        assert_eq!(bindings.find("x", "c", T0), None, "nobody else reaches anybody");
        assert_eq!(bindings.find("y", "a", T0), None);
        assert!(bindings.is_virtual("x", T0) && !bindings.is_virtual("a", T0));
        assert_eq!(bindings.find("x", "a", T0 + 60), None, "it is over");
        assert!(!bindings.is_virtual("x", T0 + 60));
        assert!(bindings.of(TENANT, T0 + 60).is_empty());
    }

    #[tokio::test]
    async fn a_live_binding_is_reused_and_holds_longer() {
        let bindings = NumberBindings::new(Store::memory());
        let pool = pool(&["x", "y"]);
        bindings.bind(pair("a", "b"), &pool, T0 + 60, T0).await.unwrap();
        let again = bindings.bind(pair("b", "a"), &pool, T0 + 90, T0 + 30).await.unwrap();
        assert_eq!((&*again.x, again.expires_ms, &*again.party_a), ("x", T0 + 90, "a"));
        let shorter = bindings.bind(pair("a", "b"), &pool, T0 + 70, T0 + 31).await.unwrap();
        assert_eq!(shorter.expires_ms, T0 + 90, "it is never cut");
        assert_eq!(bindings.of(TENANT, T0).len(), 1);
    }

    #[tokio::test]
    async fn a_number_serves_many_pairs_and_no_party_twice() {
        let bindings = NumberBindings::new(Store::memory());
        let pool = pool(&["x", "y"]);
        let bound = async |a, b| {
            bindings.bind(pair(a, b), &pool, T0 + 60, T0).await.map(|binding| binding.x)
        };
        assert_eq!(bound("a", "b").await.unwrap(), "x");
        assert_eq!(bound("c", "d").await.unwrap(), "x", "other parties share it");
        assert_eq!(bound("a", "c").await.unwrap(), "y", "a and c have x");
        assert!(matches!(bound("a", "d").await, Err(BindError::Exhausted)));
        assert_eq!(bindings.find("x", "a", T0), Some((TENANT, "b".into())));
        assert_eq!(bindings.find("y", "a", T0), Some((TENANT, "c".into())));
        assert!(bindings.end(pair("b", "a"), T0).await.unwrap());
        assert!(!bindings.end(pair("b", "a"), T0).await.unwrap());
        assert_eq!(bindings.find("x", "a", T0), None);
    }

    #[tokio::test]
    async fn a_binding_that_is_held_is_gone_with_its_request_unless_it_is_kept() {
        let store = Store::memory();
        let bindings = NumberBindings::new(store.clone());
        let pool = pool(&["x"]);
        let held = bindings.hold(pair("a", "b"), &pool, T0 + 60, T0).await.unwrap();
        assert_eq!(held.binding().x, "x");
        assert_eq!(bindings.find("x", "a", T0), Some((TENANT, "b".into())), "others count on it");
        let taken = bindings.hold(pair("a", "c"), &pool, T0 + 60, T0).await;
        assert!(matches!(taken, Err(BindError::Exhausted)));
        drop(held);
        assert_eq!(bindings.find("x", "a", T0), None, "its call was refused");
        assert!(store.number_bindings().await.unwrap().is_empty());

        // Of two requests for one pair the one is accepted: the binding has its end.
        let refused = bindings.hold(pair("a", "b"), &pool, T0 + 90, T0).await.unwrap();
        let accepted = bindings.hold(pair("b", "a"), &pool, T0 + 70, T0).await.unwrap();
        assert_eq!(accepted.binding().expires_ms, T0 + 90, "it is never cut");
        // As the commit that accepts its call does.
        store.put_number_binding(accepted.binding().clone()).await.unwrap();
        accepted.keep();
        drop(refused);
        assert_eq!(bindings.of(TENANT, T0).len(), 1);
        assert_eq!(bindings.of(TENANT, T0)[0].expires_ms, T0 + 90);

        // One that was there before stays as it was.
        drop(bindings.hold(pair("a", "b"), &pool, T0 + 500, T0).await.unwrap());
        assert_eq!(bindings.of(TENANT, T0)[0].expires_ms, T0 + 90);
        assert!(bindings.end(pair("a", "b"), T0).await.unwrap());
        bindings.read(|all| {
            assert!(all.held.is_empty() && all.by_number.is_empty() && all.by_end.is_empty());
            assert_eq!(all.of_tenant[&TENANT], 0);
        });
    }

    #[tokio::test]
    async fn a_binding_is_not_ended_while_a_call_is_being_accepted_with_it() {
        let store = Store::memory();
        let bindings = NumberBindings::new(store.clone());
        let held = bindings.hold(pair("a", "b"), &pool(&["x"]), T0 + 60, T0).await.unwrap();
        let ends = bindings.clone();
        let ending = tokio::spawn(async move { ends.end(pair("a", "b"), T0).await.unwrap() });
        tokio::task::yield_now().await;
        assert!(!ending.is_finished(), "it waits for the acceptance");
        store.put_number_binding(held.binding().clone()).await.unwrap();
        held.keep();
        assert!(ending.await.unwrap(), "and then it ends what is on disk");
        assert_eq!(bindings.find("x", "a", T0), None);
    }

    #[tokio::test]
    async fn a_start_finds_them_and_what_the_pool_has_lost_is_said() {
        let store = Store::memory();
        let first = NumberBindings::new(store.clone());
        first.bind(pair("a", "b"), &pool(&["x"]), T0 + 60, T0).await.unwrap();
        let again = NumberBindings::new(store.clone());
        again.load(T0).await.unwrap();
        assert_eq!(again.find("x", "b", T0), Some((TENANT, "a".into())));
        let late = NumberBindings::new(store.clone());
        late.load(T0 + 60).await.unwrap();
        assert_eq!(late.find("x", "b", T0), None, "what is over is not read");
        let lost = again.bind(pair("a", "b"), &pool(&["y"]), T0 + 60, T0).await;
        assert!(matches!(lost, Err(BindError::Inconsistent)), "{lost:?}");
        again.expire(T0 + 60).await.unwrap();
        assert!(store.number_bindings().await.unwrap().is_empty());
        let anew = again.bind(pair("a", "b"), &pool(&["y"]), T0 + 200, T0 + 60).await.unwrap();
        assert_eq!(anew.x, "y");
    }

    #[tokio::test]
    async fn a_tenant_that_binds_without_end_takes_no_other_tenants_place() {
        let bindings = NumberBindings::new(Store::memory());
        let row = |n: usize| NumberBinding {
            tenant: TENANT,
            x: "x".into(),
            party_a: format!("a{n}"),
            party_b: format!("b{n}"),
            expires_ms: T0 + 60 + n as i64,
        };
        bindings.change(|all| (0..MAX_OF_TENANT).for_each(|n| all.insert(row(n))));
        let pool = pool(&["x"]);
        let full = bindings.bind(pair("a", "b"), &pool, T0 + 60, T0).await;
        assert!(matches!(full, Err(BindError::Full)), "{full:?}");
        let renewed = bindings.bind(pair("a1", "b1"), &pool, T0 + 9_000, T0).await;
        assert_eq!(renewed.unwrap().expires_ms, T0 + 9_000, "what is bound stays so");
        let other = Pair { tenant: TenantId(2), ..pair("a", "b") };
        assert!(bindings.bind(other, &pool, T0 + 60, T0).await.is_ok());
        bindings.expire(T0 + 60 + 2_500).await.unwrap();
        bindings.read(|all| {
            // Number 1 holds longer; number 2,501 and those after it are not over.
            let live = MAX_OF_TENANT - 2_501 + 1;
            assert_eq!((all.of_tenant[&TENANT], all.of_tenant[&TenantId(2)]), (live, 0));
            assert_eq!((all.by_end.len(), all.by_pair.len()), (live, live));
            assert_eq!(all.by_number.len(), 2 * live);
        });
        assert!(bindings.bind(pair("a", "b"), &pool, T0 + 9_000, T0 + 2_561).await.is_ok());
    }

    #[tokio::test]
    async fn an_older_binding_of_a_party_leaves_when_its_number_is_bound_anew() {
        let bindings = NumberBindings::new(Store::memory());
        let pool = pool(&["x"]);
        bindings.bind(pair("a", "b"), &pool, T0 + 60, T0).await.unwrap();
        bindings.bind(pair("a", "c"), &pool, T0 + 200, T0 + 60).await.unwrap();
        assert_eq!(bindings.find("x", "a", T0 + 61), Some((TENANT, "c".into())));
        assert_eq!(bindings.find("x", "b", T0 + 61), None);
        assert!(bindings.of_pair(pair("a", "b"), T0 + 61).is_none());
        bindings.expire(T0 + 100).await.unwrap();
        assert_eq!(bindings.find("x", "c", T0 + 101), Some((TENANT, "a".into())));
    }
}
