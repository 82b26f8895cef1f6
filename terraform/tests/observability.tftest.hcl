# Each of the seed's monitoring lines has its place; docs/seed-coverage.md says
# which.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                   = "postern"
  region                 = "us-gov-west-1"
  vpc_id                 = "vpc-1"
  service_log_group_name = "/postern/service"
  access_log_group_name  = "/postern/api-access"
  flow_log_group_name    = "/postern/flow"
  relay_ports            = [587, 2525]
  load_balancer_suffix   = "net/postern/0123456789abcdef"
  target_group_suffix    = "targetgroup/postern/0123456789abcdef"
  cluster_name           = "postern"
  service_name           = "postern"
  min_tasks              = 2
  api_name               = "postern"
  stage_name             = "prod"
  table_names            = { EmailContacts = "EmailContacts", EmailWork = "EmailWork" }
  table_indexes          = { EmailWork = "due" }
  alarm_emails           = ["operations@agency.example"]
  kms_key_arn            = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"
}

run "alarms" {
  module { source = "./modules/observability" }

  # Delivery, authentication, relay, tasks, tables, API.
  assert {
    condition = length(setsubtract(
      ["campaigns-failed", "relay-authentication", "relay-trouble", "smtp-rejected", "service-errors", "unhealthy-tasks", "cpu", "memory", "api-5xx", "api-denied", "system-errors-emailwork"],
      keys(aws_cloudwatch_metric_alarm.this),
    )) == 0
    error_message = "An alarm is missing."
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.throttled) == ["EmailContacts", "EmailWork"] && length(aws_cloudwatch_metric_alarm.throttled["EmailWork"].metric_query) == 5 && length(aws_cloudwatch_metric_alarm.throttled["EmailContacts"].metric_query) == 3
    error_message = "A table or its index can be throttled unnoticed."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.too_few_tasks[0].threshold == 2 && aws_cloudwatch_metric_alarm.too_few_tasks[0].treat_missing_data == "breaching"
    error_message = "Nobody is told that no task is left."
  }

  assert {
    condition     = alltrue([for a in concat(values(aws_cloudwatch_metric_alarm.this), values(aws_cloudwatch_metric_alarm.throttled), aws_cloudwatch_metric_alarm.too_few_tasks) : a.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "An alarm tells nobody."
  }

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.kms_key_arn && keys(aws_sns_topic_subscription.email) == ["operations@agency.example"]
    error_message = "The topic is not encrypted with our key, or has other readers."
  }
}

run "filters" {
  module { source = "./modules/observability" }

  # Every alarm on a metric of ours has a filter that makes the metric.
  assert {
    condition = alltrue([for a in aws_cloudwatch_metric_alarm.this :
      a.namespace != "postern" || contains(keys(aws_cloudwatch_log_metric_filter.this), a.metric_name)
    ])
    error_message = "An alarm waits for a metric that nothing makes."
  }

  assert {
    condition     = alltrue([for f in aws_cloudwatch_log_metric_filter.this : f.metric_transformation[0].namespace == "postern"])
    error_message = "A filter counts into another namespace."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_log_metric_filter.this["SMTPConnectionsRejected"].pattern, " source_port, destination_port=25 || destination_port=2525 || destination_port=587, protocol,")
    error_message = "Refused connections to the relays' ports are not counted."
  }
}

run "dashboard" {
  module { source = "./modules/observability" }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 12
    error_message = "The dashboard lacks a panel."
  }

  # Every count has a panel.
  assert {
    condition     = alltrue([for name in keys(aws_cloudwatch_log_metric_filter.this) : strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "\"${name}\"")])
    error_message = "A metric is counted and not shown."
  }
}

run "nothing_runs_yet" {
  module { source = "./modules/observability" }
  variables {
    min_tasks = 0
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.too_few_tasks) == 0
    error_message = "Missing tasks alarm before there can be any."
  }
}
