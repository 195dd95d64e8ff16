//! Everything the parts of one running sandbox share.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::directory::tenant::Tenant;
use crate::faults::FaultRun;
use crate::graph::Gathered;
use crate::options::SandboxOptions;
use crate::provisioning::Provisioning;
use crate::sign_in::{Issued, RegisteredCertificate};
use crate::traffic::Traffic;

/// What a client has to know to use a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The root of Graph, with version.
    pub graph_url: String,
    /// The root of the token endpoint, without the tenant.
    pub authority: String,
    /// The tenant's id.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
    /// The application's secret. Not a secret: it follows from the seed and opens nothing but this sandbox.
    pub client_secret: String,
    /// The enterprise application whose job takes uploads of people (its object id).
    pub service_principal: String,
    /// That job's id.
    pub job: String,
    /// The authority's certificate, when serving HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: SandboxOptions,
    pub(crate) facts: Facts,
    pub(crate) clock: Clock,
    pub(crate) certificate: Option<RegisteredCertificate>,
    /// Changes per second; the churn task follows it.
    pub(crate) churn: watch::Sender<f64>,
    tenant: RwLock<Tenant>,
    traffic: Mutex<Traffic>,
    faults: Mutex<FaultRun>,
    issued: Mutex<Issued>,
    gathered: Mutex<Option<Gathered>>,
    provisioning: Mutex<Provisioning>,
}

impl Shared {
    pub(crate) fn new(
        options: SandboxOptions,
        facts: Facts,
        tenant: Tenant,
        certificate: Option<RegisteredCertificate>,
    ) -> Self {
        let churn = options.churn.map_or(0.0, |churn| churn.changes_per_second);
        let faults = FaultRun::new(options.faults.clone());
        let provisioning = Mutex::new(Provisioning::new(&options.inbound));
        Self {
            options,
            facts,
            clock: Clock::default(),
            certificate,
            churn: watch::Sender::new(churn),
            tenant: RwLock::new(tenant),
            traffic: Mutex::default(),
            faults: Mutex::new(faults),
            issued: Mutex::default(),
            gathered: Mutex::default(),
            provisioning,
        }
    }

    // A panic while one of these is held leaves nothing half done that a later reader could not bear.

    pub(crate) fn tenant(&self) -> RwLockReadGuard<'_, Tenant> {
        self.tenant.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tenant_mut(&self) -> RwLockWriteGuard<'_, Tenant> {
        self.tenant.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, FaultRun> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn gathered(&self) -> MutexGuard<'_, Option<Gathered>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever holds it may take the tenant, never the other way round.
    pub(crate) fn provisioning(&self) -> MutexGuard<'_, Provisioning> {
        self.provisioning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
