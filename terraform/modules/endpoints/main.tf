# The only doors of the private subnets to AWS. Each has a policy that names
# who may pass, to what, for which actions; so a task that is taken over cannot
# carry data to another account through them.
#
# Not here: kms (Secrets Manager, DynamoDB and ECR call it on the roles' behalf;
# the service itself would for a reference that begins with kms:, of which this
# stack makes none), monitoring (CloudWatch counts log lines by itself),
# ssm (the client is in the public subnet).

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region    = data.aws_region.current.name
  partition = data.aws_partition.current.partition

  service = { for name in ["dynamodb", "s3", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "execute-api", "email-smtp"] : name => "com.amazonaws.${local.region}.${name}" }

  by_execution_role = { ArnEquals = { "aws:PrincipalArn" = var.execution_role_arn } }

  pull = [
    {
      Sid       = "Token"
      Effect    = "Allow"
      Principal = "*"
      Action    = "ecr:GetAuthorizationToken"
      Resource  = "*" # knows no resources
      Condition = local.by_execution_role
    },
    {
      Sid       = "Pull"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource  = var.repository_arn
      Condition = local.by_execution_role
    },
  ]

  # The interface endpoints that tasks use, with what may pass.
  interface = {
    "ecr.api" = local.pull
    "ecr.dkr" = local.pull
    "logs" = [{
      Sid       = "Write"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource  = "${var.task_log_group_arn}:*"
      Condition = local.by_execution_role
    }]
    "secretsmanager" = concat([{
      Sid       = "Read"
      Effect    = "Allow"
      Principal = "*"
      Action    = "secretsmanager:GetSecretValue"
      Resource  = var.secret_arns
      Condition = local.by_execution_role
      }], [for arns in [var.task_secret_arns] : {
      Sid       = "ReadByService"
      Effect    = "Allow"
      Principal = "*"
      Action    = "secretsmanager:GetSecretValue"
      Resource  = arns
      Condition = { ArnEquals = { "aws:PrincipalArn" = var.task_role_arn } }
    } if length(arns) > 0])
  }
}

# Gateway endpoints cost nothing.

resource "aws_vpc_endpoint" "dynamodb" {
  vpc_id            = var.vpc_id
  service_name      = local.service["dynamodb"]
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.private_route_table_ids

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for s in var.table_statements : merge(s, {
      Principal = "*"
      Condition = { ArnEquals = { "aws:PrincipalArn" = var.task_role_arn } }
    })]
  })

  tags = { Name = "${var.name}-dynamodb" }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = var.vpc_id
  service_name      = local.service["s3"]
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.private_route_table_ids

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # ECR keeps the layers of images there. It hands out signed addresses
      # under a principal of its own, so this one cannot name a role.
      Sid       = "ImageLayers"
      Effect    = "Allow"
      Principal = "*"
      Action    = "s3:GetObject"
      Resource  = "arn:${local.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"
    }]
  })

  tags = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface

  vpc_id              = var.vpc_id
  service_name        = local.service[each.key]
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.private_subnet_ids
  security_group_ids  = [aws_security_group.tasks.id]
  private_dns_enabled = true
  policy              = jsonencode({ Version = "2012-10-17", Statement = each.value })

  tags = { Name = "${var.name}-${each.key}" }
}

# The way in: callers reach the API here and nowhere else.

resource "aws_vpc_endpoint" "api" {
  vpc_id              = var.vpc_id
  service_name        = local.service["execute-api"]
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.private_subnet_ids
  security_group_ids  = [aws_security_group.api.id]
  private_dns_enabled = var.api_private_dns

  tags = { Name = "${var.name}-execute-api" }
}

# Apart from the endpoint, because it names the API, which names the endpoint.
resource "aws_vpc_endpoint_policy" "api" {
  vpc_endpoint_id = aws_vpc_endpoint.api.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ThisAPI"
      Effect    = "Allow"
      Principal = "*"
      Action    = "execute-api:Invoke"
      Resource  = "${var.api_execution_arn}/*"
    }]
  })
}

# SES's SMTP side, in mode ses. It speaks SMTP and not AWS's protocol: what
# limits it is the security group, and the policy of the IAM user behind the
# SMTP credentials (README). An endpoint policy has no say there.
resource "aws_vpc_endpoint" "smtp" {
  count = var.ses ? 1 : 0

  vpc_id              = var.vpc_id
  service_name        = local.service["email-smtp"]
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.private_subnet_ids
  security_group_ids  = [aws_security_group.smtp[0].id]
  private_dns_enabled = true

  tags = { Name = "${var.name}-email-smtp" }
}
