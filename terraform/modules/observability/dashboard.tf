locals {
  ours  = { for name in keys(local.filters) : name => [local.namespace, name] }
  tasks = ["ClusterName", var.cluster_name, "ServiceName", var.service_name]

  # Each of the panels has a title, a statistic and its metrics.
  panels = [
    { title = "Campaigns", stat = "Sum", metrics = [local.ours.CampaignsAccepted, local.ours.CampaignsCompleted, local.ours.CampaignsFailed] },
    { title = "Relays", stat = "Sum", metrics = [local.ours.RelayTrouble, local.ours.RelayRecovered, local.ours.RelayAuthenticationFailures, local.ours.SMTPConnectionsRejected] },
    { title = "Attachments of accepted campaigns", stat = "Sum", metrics = [local.ours.Attachments] },
    { title = "Errors and takeovers", stat = "Sum", metrics = [local.ours.Errors, local.ours.LeaseTakeovers] },
    {
      title = "API calls", stat = "Sum"
      metrics = concat(
        [for metric in ["Count", "4XXError", "5XXError"] : ["AWS/ApiGateway", metric, "ApiName", var.api_name, "Stage", var.stage_name]],
        [local.ours.CallsDenied],
      )
    },
    {
      title = "Time to answer (ms in API Gateway, s in the service)", stat = "p95"
      metrics = [
        ["AWS/ApiGateway", "Latency", "ApiName", var.api_name, "Stage", var.stage_name],
        ["AWS/ApiGateway", "IntegrationLatency", "ApiName", var.api_name, "Stage", var.stage_name],
        concat(local.ours.RequestSeconds, [{ yAxis = "right" }]),
      ]
    },
    { title = "Tasks: CPU and memory, per cent", stat = "Average", metrics = [concat(["AWS/ECS", "CPUUtilization"], local.tasks), concat(["AWS/ECS", "MemoryUtilization"], local.tasks)] },
    { title = "Tasks: running and wanted", stat = "Average", metrics = [concat(["ECS/ContainerInsights", "RunningTaskCount"], local.tasks), concat(["ECS/ContainerInsights", "DesiredTaskCount"], local.tasks)] },
    { title = "Tables: write units used", stat = "Sum", metrics = [for name in values(var.table_names) : ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", name]] },
    { title = "Tables: read units used", stat = "Sum", metrics = [for name in values(var.table_names) : ["AWS/DynamoDB", "ConsumedReadCapacityUnits", "TableName", name]] },
    {
      # Interface endpoints only; AWS has no metrics of gateway endpoints. What
      # goes through DynamoDB's is in the tables' units and the flow logs.
      title   = "VPC endpoints: bytes", stat = "Sum"
      metrics = [[{ expression = "SEARCH('Namespace=\"AWS/PrivateLinkEndpoints\" MetricName=\"BytesProcessed\" \"VPC Id\"=\"${var.vpc_id}\"', 'Sum', 300)", id = "endpoints" }]]
    },
    { title = "Network: connections refused", stat = "Sum", metrics = [local.ours.ConnectionsRejected, local.ours.SMTPConnectionsRejected] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [for i, panel in local.panels : {
      type   = "metric"
      x      = i % 2 * 12
      y      = floor(i / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = panel.title
        region  = var.region
        stat    = panel.stat
        period  = 300
        metrics = panel.metrics
      }
    }]
  })
}
