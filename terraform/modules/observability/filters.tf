# Counts out of log lines. The service logs JSON; what it says about relays and
# campaigns becomes metrics here, without an agent and without a way out for
# metrics. Per-message numbers are in its Prometheus metrics alone.

locals {
  smtp_ports = sort([for port in distinct(concat([25], var.relay_ports)) : tostring(port)])

  # tests/filters_test.go holds what the service's patterns look for to the
  # service's source.
  filters = {
    # The service (zerolog).
    CampaignsAccepted = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"campaign accepted\" }"
      value   = "1"
    }
    Attachments = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"campaign accepted\" && $.attachments > 0 }"
      value   = "$.attachments"
    }
    CampaignsCompleted = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"the campaign's status changed\" && $.status = \"completed\" }"
      value   = "1"
    }
    CampaignsFailed = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"the campaign's status changed\" && $.status = \"failed\" }"
      value   = "1"
    }
    # Each refusal pauses a campaign, and that is the line with the reason.
    RelayAuthenticationFailures = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"the campaign's status changed\" && $.reason = \"* refuses the credentials: *\" }"
      value   = "1"
    }
    RelayTrouble = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"the relay is in trouble; trying again\" }"
      value   = "1"
    }
    RelayRecovered = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"the relay works again\" }"
      value   = "1"
    }
    LeaseTakeovers = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"took over a lease whose owner is gone\" }"
      value   = "1"
    }
    Errors = {
      group   = var.service_log_group_name
      pattern = "{ $.level = \"error\" }"
      value   = "1"
    }
    RequestSeconds = {
      group   = var.service_log_group_name
      pattern = "{ $.message = \"request\" && $.seconds >= 0 }"
      value   = "$.seconds"
    }
    # The API's access log: calls that the resource policy, IAM or AUTH refused.
    CallsDenied = {
      group   = var.access_log_group_name
      pattern = "{ $.status = 401 || $.status = 403 }"
      value   = "1"
    }
    # Flow logs: what a security group or network ACL refused.
    ConnectionsRejected = {
      group   = var.flow_log_group_name
      pattern = "[version, account, interface, source, destination, source_port, destination_port, protocol, packets, bytes, start, end, action=REJECT, status]"
      value   = "1"
    }
    # Of the relays' ports, and of 25, on which nothing leaves.
    SMTPConnectionsRejected = {
      group   = var.flow_log_group_name
      pattern = "[version, account, interface, source, destination, source_port, ${join(" || ", formatlist("destination_port=%s", local.smtp_ports))}, protocol, packets, bytes, start, end, action=REJECT, status]"
      value   = "1"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.filters

  name           = "${var.name}-${each.key}"
  log_group_name = each.value.group
  pattern        = each.value.pattern

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = each.value.value
    # No line is a nought and not a gap, where lines are counted.
    default_value = each.value.value == "1" ? "0" : null
  }
}
