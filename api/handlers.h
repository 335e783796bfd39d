/* The handlers that the table of routes names; one file per resource. */
#ifndef MILLRACE_API_HANDLERS_H
#define MILLRACE_API_HANDLERS_H

#include "api/routes.h"

/* queues.c, gpus.c */
route_handler queues_post, queues_index, queues_show, queues_remove, flavors_index, flavors_remove, gpus_index;
/* meta.c */
route_handler meta_live, meta_ready, meta_version, meta_schema, meta_queue_schema, meta_openapi;
/* admin.c */
route_handler projects_index, projects_post, tokens_index, tokens_post, tokens_remove;
/* pipelines.c */
route_handler pipelines_validate, pipelines_plan, pipelines_index, pipelines_post, pipelines_show, pipelines_remove,
    pipelines_history, pipelines_show_version;
/* runs.c, submit.c */
route_handler runs_index, runs_post, runs_show, runs_remove, runs_plan, runs_clone;
route_handler runs_cancel, runs_pause, runs_resume, runs_retry, runs_set_archived, runs_unset_archived;
/* tasks.c */
route_handler tasks_index, tasks_show, tasks_history, tasks_approve;
/* events.c */
route_handler events_index;
/* steplogs.c */
route_handler logs_show;
/* artifacts.c */
route_handler artifacts_index, artifacts_post, artifacts_in_run, artifacts_show, artifacts_content, artifacts_lineage;
/* uploads.c */
route_handler blobs_show, uploads_post, uploads_show, uploads_patch, uploads_taken, uploads_remove, bundles_post,
    bundles_show;

#endif
