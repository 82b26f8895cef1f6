# The service on Fargate, in the private subnets.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.name
  dns_suffix = data.aws_partition.current.dns_suffix

  port         = 8080
  metrics_port = 9090

  repository_arn = "arn:${local.partition}:ecr:${local.region}:${local.account}:repository/${var.name}"
  log_group_arn  = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}"
  log_group      = "/${var.name}/service"

  # Without an image everything is made and nothing is started.
  min_tasks = var.image_tag == "" ? 0 : var.min_tasks
  max_tasks = var.image_tag == "" ? 0 : var.max_tasks

  environment = merge(
    {
      LISTEN_ADDR  = "0.0.0.0:${local.port}"
      METRICS_ADDR = "0.0.0.0:${local.metrics_port}"
      AUTH         = var.auth
      VPC_ENABLED  = "true"
      # For AUTH with vpce.
      VPC_ENDPOINT_IDS = join(",", var.vpc_endpoint_ids)
      STORE            = "dynamodb"
      AWS_REGION       = local.region
      SMTP_SERVER      = var.smtp_server
      SMTP_PORT        = tostring(var.smtp_port)
      SMTP_USERNAME    = var.smtp_username
      RELAYS           = var.relays
      RELAY_ALLOW      = join(",", var.relay_allow)
      RELAY_PORTS      = join(",", var.relay_ports)
      RELAY_CA         = var.relay_ca_pem
      # No campaign turns TLS off.
      RELAY_REQUIRE_TLS = "true"
      TABLE_PREFIX      = var.table_prefix
      # Ten seconds before ECS kills what is left.
      SHUTDOWN_TIMEOUT = "${var.stop_timeout - 10}s"
      # Go does not see the task's memory limit by itself.
      GOMEMLIMIT = "${floor(var.memory * 0.9)}MiB"
      # API Gateway passes no more than 10 MB.
      MAX_REQUEST_BYTES = "10485760"
    },
    # API Gateway wants the name that it calls in the certificate, even where it
    # verifies nothing else.
    var.task_tls ? { LISTEN_TLS = "self-signed", TLS_NAMES = aws_lb.this.dns_name } : {},
    local.has_login ? { SMTP_PASSWORD_REF = aws_secretsmanager_secret.smtp_password[0].arn } : {},
    var.backlog_target == null ? {} : { EMF_NAMESPACE = var.name },
    local.has_tokens ? { API_TOKENS_REF = aws_secretsmanager_secret.api_tokens[0].arn } : {},
    var.settings,
  )
}

resource "aws_cloudwatch_log_group" "service" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# Container Insights would make it by itself: without a key, kept for ever.
resource "aws_cloudwatch_log_group" "insights" {
  name              = "/aws/ecs/containerinsights/${var.name}/performance"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  depends_on = [aws_cloudwatch_log_group.insights]
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name      = "postern"
    image     = "${aws_ecr_repository.this.repository_url}:${var.image_tag == "" ? "none-yet" : var.image_tag}"
    essential = true

    # A user without a name, no capability, nothing to write to.
    user                   = "65532:65532"
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }

    portMappings = [
      { containerPort = local.port, hostPort = local.port, protocol = "tcp" },
      { containerPort = local.metrics_port, hostPort = local.metrics_port, protocol = "tcp" },
    ]

    environment = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] } if local.environment[name] != ""]
    secrets     = [for name in sort(keys(local.secrets)) : { name = name, valueFrom = local.secrets[name] }]

    # SIGTERM, then this long to finish what is in flight. 120 is Fargate's most.
    stopTimeout = var.stop_timeout

    healthCheck = {
      command     = ["CMD", "/server", "healthcheck"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 15
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "task"
        # Trouble of CloudWatch must not stop the sending. What became of each
        # recipient is in the tables and not in the log.
        mode            = "non-blocking"
        max-buffer-size = "25m"
      }
    }
  }])

  # A task that starts before its secrets have values fails.
  depends_on = [
    aws_secretsmanager_secret_version.encryption_key,
    aws_secretsmanager_secret_version.smtp_password,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
  ]
}

resource "aws_ecs_service" "this" {
  name             = var.name
  cluster          = aws_ecs_cluster.this.id
  task_definition  = aws_ecs_task_definition.this.arn
  launch_type      = "FARGATE"
  platform_version = "1.4.0"
  desired_count    = local.min_tasks
  propagate_tags   = "SERVICE"

  enable_execute_command = false # there is no shell in the image anyway

  # Start the new beside the old, then stop the old. Tasks share the work by
  # leases in the tables, so any number of both may run.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 30

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "postern"
    container_port   = local.port
  }

  service_registries {
    registry_arn = aws_service_discovery_service.metrics.arn
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }

  depends_on = [aws_lb_listener.this]
}
