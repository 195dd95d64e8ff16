//! The sandbox as a client sees it: over HTTP, rule by rule.

#[cfg(test)]
mod churn;
#[cfg(test)]
mod client;
#[cfg(test)]
mod delta_groups;
#[cfg(test)]
mod delta_users;
#[cfg(test)]
mod expired;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod inbound;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod sign_in;
