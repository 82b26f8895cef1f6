output "security_group_id" {
  description = "The tasks' group."
  value       = aws_security_group.tasks.id
}

output "execution_role_arn" {
  description = "The role that starts tasks."
  value       = local.execution_role_arn
}

output "task_role_arn" {
  description = "The service's own role."
  value       = local.task_role_arn
}

output "repository_arn" {
  description = "The image's repository."
  value       = local.repository_arn
}

output "repository_url" {
  description = "Where images are pushed."
  value       = aws_ecr_repository.this.repository_url
}

output "secret_arns" {
  description = "The tasks' secrets, as patterns."
  value       = local.secret_arns
}

output "log_group_name" {
  description = "The tasks' log group."
  value       = aws_cloudwatch_log_group.service.name
}

output "log_group_arn" {
  description = "The tasks' log group."
  value       = local.log_group_arn
}

output "load_balancer_arn" {
  description = "For the VPC link."
  value       = aws_lb.this.arn
}

output "load_balancer_suffix" {
  description = "For metrics."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffix" {
  description = "For metrics."
  value       = aws_lb_target_group.this.arn_suffix
}

output "task_secret_arns" {
  description = "Secrets that the service reads by itself, as patterns."
  value       = local.task_secret_arns
}

output "api_tokens_secret_name" {
  description = "Where the hashes of API tokens are; null without tokens."
  value       = one(aws_secretsmanager_secret.api_tokens[*].name)
}

output "load_balancer_dns_name" {
  description = "The load balancer's name, inside the VPC."
  value       = aws_lb.this.dns_name
}

output "listener_port" {
  description = "The load balancer's port."
  # Not local.port: whoever calls it has to wait until it listens.
  value = aws_lb_listener.this.port
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "service_name" {
  description = "The ECS service."
  value       = aws_ecs_service.this.name
}

output "doctor" {
  description = "Runs `server doctor` as one more task: the same definition, subnets and group. null without an image."
  value = var.image_tag == "" ? null : join(" ", [
    "aws ecs run-task --region ${local.region} --cluster ${aws_ecs_cluster.this.name} --task-definition ${aws_ecs_task_definition.this.family} --launch-type FARGATE",
    "--network-configuration 'awsvpcConfiguration={subnets=[${join(",", var.private_subnet_ids)}],securityGroups=[${aws_security_group.tasks.id}],assignPublicIp=DISABLED}'",
    "--overrides '${jsonencode({ containerOverrides = [{ name = "postern", command = ["doctor"] }] })}'",
  ])
}

output "metrics_dns_name" {
  description = "Every task's address, for Prometheus's dns_sd_configs (type A)."
  value       = "${aws_service_discovery_service.metrics.name}.${aws_service_discovery_private_dns_namespace.this.name}:${local.metrics_port}"
}
