# What an operator is told, and where they look.

locals {
  namespace = var.name

  # Alarms on one metric. Missing data is no alarm: a service without campaigns
  # is silent and well.
  alarms = merge({
    campaigns-failed = {
      about     = "A campaign has failed. GET /campaigns says which, its reason says why."
      namespace = local.namespace, metric = "CampaignsFailed", dimensions = {}
      statistic = "Sum", threshold = 0, periods = 1
    }
    relay-authentication = {
      about     = "A relay refuses the credentials. Check user name and password; some relays lock an account."
      namespace = local.namespace, metric = "RelayAuthenticationFailures", dimensions = {}
      statistic = "Sum", threshold = 0, periods = 1
    }
    relay-trouble = {
      about     = "A relay is out of reach, busy or lets connections down. Campaigns wait and go on by themselves."
      namespace = local.namespace, metric = "RelayTrouble", dimensions = {}
      statistic = "Sum", threshold = 0, periods = 1
    }
    smtp-rejected = {
      about     = "A security group refuses SMTP connections: relay_cidrs or relay_ports do not fit the relay."
      namespace = local.namespace, metric = "SMTPConnectionsRejected", dimensions = {}
      statistic = "Sum", threshold = 0, periods = 3
    }
    service-errors = {
      about     = "The service logs errors."
      namespace = local.namespace, metric = "Errors", dimensions = {}
      statistic = "Sum", threshold = 5, periods = 1
    }
    unhealthy-tasks = {
      about      = "The load balancer finds tasks unhealthy."
      namespace  = "AWS/NetworkELB", metric = "UnHealthyHostCount"
      dimensions = { LoadBalancer = var.load_balancer_suffix, TargetGroup = var.target_group_suffix }
      statistic  = "Maximum", threshold = 0, periods = 3
    }
    cpu = {
      about      = "The tasks' CPU is busy although autoscaling had time: raise max_tasks or task_cpu."
      namespace  = "AWS/ECS", metric = "CPUUtilization"
      dimensions = { ClusterName = var.cluster_name, ServiceName = var.service_name }
      statistic  = "Average", threshold = 90, periods = 15
    }
    memory = {
      about      = "The tasks' memory is nearly full: raise task_memory."
      namespace  = "AWS/ECS", metric = "MemoryUtilization"
      dimensions = { ClusterName = var.cluster_name, ServiceName = var.service_name }
      statistic  = "Maximum", threshold = 90, periods = 5
    }
    api-5xx = {
      about      = "The API answers 5xx."
      namespace  = "AWS/ApiGateway", metric = "5XXError"
      dimensions = { ApiName = var.api_name, Stage = var.stage_name }
      statistic  = "Sum", threshold = 0, periods = 3
    }
    api-denied = {
      about     = "Many calls are refused: a caller without right, or an attempt. The access log names the source."
      namespace = local.namespace, metric = "CallsDenied", dimensions = {}
      statistic = "Sum", threshold = 20, periods = 1
    }
    }, {
    for key, name in var.table_names : "system-errors-${lower(key)}" => {
      about     = "DynamoDB itself errs on ${name}."
      namespace = "AWS/DynamoDB", metric = "SystemErrors", dimensions = { TableName = name }
      statistic = "Sum", threshold = 0, periods = 3
    }
  })
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

data "aws_caller_identity" "current" {}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AlarmsOfThisAccount"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# Fewer healthy tasks than there have to be. With none there is no data, which
# is bad news here, unlike everywhere else.
resource "aws_cloudwatch_metric_alarm" "too_few_tasks" {
  count = var.min_tasks > 0 ? 1 : 0

  alarm_name          = "${var.name}-too-few-tasks"
  alarm_description   = "Fewer than ${var.min_tasks} healthy tasks. The ECS service's events say why."
  namespace           = "AWS/NetworkELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = var.load_balancer_suffix, TargetGroup = var.target_group_suffix }
  statistic           = "Maximum"
  comparison_operator = "LessThanThreshold"
  threshold           = var.min_tasks
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# Reads and writes together, of the table and of its index.
resource "aws_cloudwatch_metric_alarm" "throttled" {
  for_each = var.table_names

  alarm_name          = "${var.name}-throttled-${lower(each.key)}"
  alarm_description   = "DynamoDB throttles ${each.value}. The service slows down and loses nothing."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "throttled"
    expression  = join(" + ", [for id in keys(local.throttle_metrics[each.key]) : "FILL(${id}, 0)"])
    label       = "Throttled"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.throttle_metrics[each.key]
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/DynamoDB"
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        period      = 60
        stat        = "Sum"
      }
    }
  }
}

locals {
  # Of an index only the table that has one.
  throttle_metrics = {
    for key, name in var.table_names : key => merge(
      {
        reads  = { metric = "ReadThrottleEvents", dimensions = { TableName = name } }
        writes = { metric = "WriteThrottleEvents", dimensions = { TableName = name } }
      },
      contains(keys(var.table_indexes), key) ? {
        index_reads  = { metric = "ReadThrottleEvents", dimensions = { TableName = name, GlobalSecondaryIndexName = var.table_indexes[key] } }
        index_writes = { metric = "WriteThrottleEvents", dimensions = { TableName = name, GlobalSecondaryIndexName = var.table_indexes[key] } }
      } : {},
    )
  }
}
