//! Job and CronJob: stored and listed; no controller of ours acts on them yet.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job, JobSpec, JobStatus};

use crate::registry::{Cell, Column, Facts, Propagation, Spec, Subresource};
use crate::{defaults, table};

impl Spec for Job {
    const FACTS: Facts = Facts {
        plural: "jobs",
        singular: "job",
        categories: &["all"],
        subresources: &[Subresource::status("Job")],
        default_propagation: Propagation::Orphan,
        has_generation: true,
        storage: "jobs.batch",
        field_selectors: &["status.successful"],
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Completions"),
        Column::text("Duration"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let none = (JobSpec::default(), JobStatus::default());
        let spec = self.spec.as_ref().unwrap_or(&none.0);
        let status = self.status.as_ref().unwrap_or(&none.1);
        let [containers, images] = table::containers(Some(&spec.template));
        vec![
            table::name(&self.metadata),
            status_text(self, status).into(),
            completions_text(spec, status).into(),
            duration_text(status, now).into(),
            table::age(&self.metadata, now),
            containers,
            images,
            table::selector_text(spec.selector.as_ref()),
        ]
    }

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        defaults::pod_template_spec(&mut spec.template);
        if spec.completions.is_none() && spec.parallelism.is_none() {
            spec.completions = Some(1);
        }
        spec.parallelism.get_or_insert(1);
        let tries = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
        spec.backoff_limit.get_or_insert(tries);
        spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
        spec.suspend.get_or_insert(false);
        spec.manual_selector.get_or_insert(false);
        let replaced = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
        spec.pod_replacement_policy.get_or_insert_with(|| replaced.to_owned());
        if self.metadata.labels.as_ref().is_none_or(|labels| labels.is_empty()) {
            self.metadata.labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(JobStatus::default());
        generate_selector(self);
    }

    super::spec_and_status!();

    fn selectable_fields(&self) -> Vec<(&'static str, String)> {
        let succeeded = self.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default();
        vec![("status.successful", succeeded.to_string())]
    }
}

/// Pods of a job are told by labels that carry its name and UID, unless it brings its own selector.
fn generate_selector(job: &mut Job) {
    let (Some(name), Some(uid)) = (job.metadata.name.clone(), job.metadata.uid.clone()) else { return };
    let spec = job.spec.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for prefix in ["", "batch.kubernetes.io/"] {
        labels.entry(format!("{prefix}controller-uid")).or_insert_with(|| uid.clone());
        labels.entry(format!("{prefix}job-name")).or_insert_with(|| name.clone());
    }
    let selected = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selected.entry("batch.kubernetes.io/controller-uid".to_owned()).or_insert(uid);
}

fn status_text(job: &Job, status: &JobStatus) -> &'static str {
    let holds = |type_: &str| {
        let first = status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        first.is_some_and(|condition| condition.status == "True")
    };
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions_text(spec: &JobSpec, status: &JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or_default();
    match (spec.completions, spec.parallelism.unwrap_or_default()) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration_text(status: &JobStatus, now: Timestamp) -> String {
    let Some(start) = &status.start_time else { return String::new() };
    let end = status.completion_time.as_ref().map_or(now, |time| time.0);
    table::human_duration(end.duration_since(start.0).as_secs())
}

impl Spec for CronJob {
    const FACTS: Facts = Facts {
        plural: "cronjobs",
        singular: "cronjob",
        short_names: &["cj"],
        categories: &["all"],
        subresources: &[Subresource::status("CronJob")],
        has_generation: true,
        storage: "cronjobs.batch",
        ..Facts::NAMESPACED
    };
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::text("Schedule"),
        Column::text("Timezone"),
        Column::boolean("Suspend"),
        Column::integer("Active"),
        Column::text("Last Schedule"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ];

    fn row(&self, now: Timestamp) -> Vec<Cell> {
        let spec = self.spec.clone();
        let status = self.status.as_ref();
        let job = spec.job_template.spec.unwrap_or_default();
        let last = status.and_then(|status| status.last_schedule_time.as_ref());
        let [containers, images] = table::containers(Some(&job.template));
        vec![
            table::name(&self.metadata),
            spec.schedule.into(),
            table::or_none(spec.time_zone.as_deref()),
            spec.suspend.map_or(table::UNSET, |suspend| if suspend { "True" } else { "False" }).into(),
            status.and_then(|status| status.active.as_ref()).map_or(0, Vec::len).into(),
            last.map_or_else(|| table::NONE.to_owned(), |time| table::since(Some(time.0), now)).into(),
            table::age(&self.metadata, now),
            containers,
            images,
            table::selector_text(job.selector.as_ref()),
        ]
    }

    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.concurrency_policy.get_or_insert_with(|| "Allow".to_owned());
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        if let Some(job) = &mut spec.job_template.spec {
            defaults::pod_template_spec(&mut job.template);
        }
    }

    fn prepare_create(&mut self) {
        self.status = Some(CronJobStatus::default());
    }

    super::spec_and_status!();
}
