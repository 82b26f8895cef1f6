# Prometheus finds every task by DNS (dns_sd_configs, type A). It has to ask
# the tasks: the load balancer would give it another one each time.

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "The tasks' addresses, for Prometheus"
  vpc         = var.vpc_id
}

resource "aws_service_discovery_service" "metrics" {
  name = "metrics"

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS tells which tasks are healthy.
  health_check_custom_config {
    failure_threshold = 1
  }
}
